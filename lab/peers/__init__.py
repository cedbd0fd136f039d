"""Models of others, trained from scratch as ours are: open_clip's CLIP and CoCa, of a BLIP's sizes."""
