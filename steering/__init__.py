"""What a refusal decision is: control tokens, calibration, policy and the gate."""
