"""How torch's threads wait for each other on a CPU."""

import os


def wait_without_spinning() -> None:
    """Let threads sleep while they wait; call before torch is imported.

    OpenMP's threads spin by default: faster by a trifle on an idle machine, but on one where
    anything else runs they keep each other from the cores, and a training step takes many times
    as long (measured with two threads on two busy cores: 14 s against 2 s). A policy that is set
    in the environment stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
