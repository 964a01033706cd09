"""How a checkpoint with control tokens is made: records, encoding, training and calibration."""
