"""One file a task; each is an nn.Module with `forward(batch, alpha) -> Losses` and `after_step`."""
