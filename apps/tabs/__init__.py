"""The studio's rooms, one file a room: layout and wiring."""
