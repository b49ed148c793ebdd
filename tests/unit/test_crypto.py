"""Sealed values: opened by the right key in the right place, by nothing else.

Standard: §9.1 Encryption at Rest
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlab.crypto import Keyring, new_key, seal, unseal
from cloudlab.errors import ConfigError, InvariantBroken

KEY = new_key()


@given(text=st.binary(max_size=500), context=st.lists(st.text(), max_size=4).map(tuple))
def test_what_was_sealed_opens_in_its_context(text: bytes, context: tuple[str, ...]):
    assert unseal(KEY, seal(KEY, text, context), context) == text


@given(position=st.integers(0, 44), flip=st.integers(1, 255))
def test_a_single_changed_byte_is_noticed(position: int, flip: int):
    sealed = bytearray(seal(KEY, b"ada@acme.test+16", ("a", "b")))
    assert len(sealed) == 45
    sealed[position] ^= flip
    with pytest.raises(InvariantBroken):
        unseal(KEY, bytes(sealed), ("a", "b"))


@pytest.mark.parametrize("context", [("a", "c"), ("a",), ("ab",), ("a", "b", "")])
def test_a_value_does_not_open_in_another_context(context: tuple[str, ...]):
    with pytest.raises(InvariantBroken):
        unseal(KEY, seal(KEY, b"x", ("a", "b")), context)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" * 40])
def test_what_was_never_sealed_is_refused(sealed: bytes):
    with pytest.raises(InvariantBroken):
        unseal(KEY, sealed, ())


def test_the_same_text_is_sealed_differently_every_time():
    assert seal(KEY, b"x", ()) != seal(KEY, b"x", ())


def test_the_newest_master_key_wraps_and_all_of_them_unwrap():
    old, new = new_key(), new_key()
    before, after = Keyring({1: old}), Keyring({1: old, 2: new})
    wrapped = before.wrap(KEY, ("p",))
    assert after.newest == 2
    assert after.unwrap(1, wrapped, ("p",)) == KEY
    assert Keyring({2: new}).unwrap(2, after.wrap(KEY, ("p",)), ("p",)) == KEY
    with pytest.raises(ConfigError, match="master key 1 is not configured"):
        Keyring({2: new}).unwrap(1, wrapped, ("p",))
    with pytest.raises(ConfigError, match="no master key"):
        Keyring({}).wrap(KEY, ())
    assert str(old) not in repr(before)
