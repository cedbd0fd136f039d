"""What is measured on the paper's tasks: pure functions of arrays and lists, no model, no file."""
