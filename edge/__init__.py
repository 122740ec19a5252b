"""The device: captures frames, finds faces, reads their emotions, shows or logs them."""
