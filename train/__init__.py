"""The workstation: reads data sets and trains the network."""
