"""Output names are unique, safe everywhere and stable."""

from visage.io.names import file_names


def test_the_class_is_left_out_and_folders_are_joined():
    assert file_names(["A/s1/07", "A/08", "pool/09"], ["A", "A", "A"]) == ["s1__07", "08", "pool__09"]


def test_equal_names_in_one_class_are_told_apart_and_others_left_alone():
    names = file_names(["A/a/b", "A/a__b", "A/A__B", "B/a__b"], ["A", "A", "A", "B"])
    assert len({name.casefold() for name in names[:3]}) == 3
    assert names[3] == "a__b"


def test_names_are_valid_on_every_file_system():
    long, odd = file_names(["A/" + "é" * 200, 'A/.a:b*"'], ["A", "A"])
    assert len(long.encode()) <= 180
    assert odd == "_a_b__"
