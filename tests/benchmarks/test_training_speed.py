from benchmarks.training import AGAIN, PLAIN, table


def test_methods_stand_beside_plain_sft() -> None:
    found = {
        (PLAIN, 0): 100.0,
        (AGAIN, 0): 98.0,
        ("both joined", 0): 110.0,
        ("both joined", 1): 220.0,
        (AGAIN, 1): 196.0,
        (PLAIN, 1): 200.0,
    }
    assert table(found) == [
        (PLAIN, "150", ""),
        (AGAIN, "147", "0.980 (0.980 to 0.980)"),
        ("both joined", "165", "1.100 (1.100 to 1.100)"),
    ]
