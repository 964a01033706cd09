"""What tests of random requests start from: printed by each, and set by DEMUR_TEST_SEED."""

import os

SEED = int(os.environ.get("DEMUR_TEST_SEED") or int.from_bytes(os.urandom(4), "big"))
