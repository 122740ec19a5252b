"""The workstation: quantizes a trained network into a verified bundle."""
