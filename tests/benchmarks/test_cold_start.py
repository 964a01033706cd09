from benchmarks.cold_start import TOTAL, rows


def test_parts_are_added_up_and_shared() -> None:
    found = [
        {"imports": 0.2, "probe": 0.3, TOTAL: 10.0},
        {"imports": 0.4, "probe": 0.3, TOTAL: 20.0},
        {"imports": 0.3, "probe": 0.3, TOTAL: 30.0},
    ]
    assert rows(found) == [
        ("imports", "0.300", "2.00%"),
        ("probe", "0.300", "1.50%"),
        ("all of ours", "0.600", "3.50%"),
        (TOTAL, "20.000", "100.00%"),
    ]
