"""Reads decimal numbers straight from bytes, correctly rounded, so that text files need no objects of Python."""

from math import inf, nan

import numpy as np
from numpy.typing import NDArray

from mes.pricing.kernel.compiled import compiled

Bytes = NDArray[np.uint8]

READ, DEFERRED, NOT_A_NUMBER = 0, 1, 2
"""`DEFERRED`: sound, but its last bit is in doubt (more than 19 digits, or far from 1): `float()` must decide."""

_PLUS, _MINUS, _POINT, _ZERO, _E = b"+-.0e"
_LOWER = 0x20  # the bit that tells small letters from capitals
_NAN, _INF, _INFINITY = (np.frombuffer(word, np.uint8) for word in (b"nan", b"inf", b"infinity"))
_BASE = 10
_MOST_DIGITS = 19  # of any kind fit 64 bits
_FARTHEST_EXPONENT = 1 << 20  # as good as infinite, and sums of two stay machine integers

_EXACT_INTEGER = np.uint64(1 << 53)
_EXACT_POWER = 22
_POWERS_OF_TEN = 10.0 ** np.arange(_EXACT_POWER + 1)

_SMALLEST_POWER, _LARGEST_POWER = -65, 40  # of ten: far beyond any model, and results stay normal numbers
_POWERS_OF_TWO = 2.0 ** np.arange(-400, 401)
_POWER_OF_TWO_0 = 400
_LOW_32, _ALL_64 = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFFFF)
_0, _1, _3, _9, _32, _63 = (np.uint64(number) for number in (0, 1, 3, 9, 32, 63))
_BASE_64, _ZERO_64 = np.uint64(_BASE), np.uint64(_ZERO)
_BELOW_MANTISSA = np.uint64((1 << 9) - 1)  # of 64 bits, all but 53 of the mantissa, one to round and one in doubt


def _leading_bits(power: int) -> int:
    """The 128 leading bits of 5**power, rounded as Lemire's proof supposes."""
    value: int = 5 ** abs(power)
    bits = value.bit_length()
    if power >= 0:
        return value << 128 - bits if bits < 128 else value >> bits - 128  # noqa: PLR2004 - bits of the table
    if power >= -27:  # noqa: PLR2004 - where 64 bits times 5**-power may be exact
        return (1 << bits + 127) // value + 1
    quotient = (1 << 2 * bits + 128) // value + 1
    return quotient >> quotient.bit_length() - 128


_FIVES = [_leading_bits(power) for power in range(_SMALLEST_POWER, _LARGEST_POWER + 1)]
_FIVES_HIGH = np.array([five >> 64 for five in _FIVES], np.uint64)
_FIVES_LOW = np.array([five & (1 << 64) - 1 for five in _FIVES], np.uint64)


@compiled()
def scan_number(data: Bytes, at: int, end: int) -> tuple[float, int, int]:
    """The number that starts at a byte, in the grammar of `float()` without blanks and underscores.

    Returns:
        Its value, where it ends, and `READ`, `DEFERRED` (the value is nan then) or `NOT_A_NUMBER`.
    """
    sign = 1.0
    if at < end and (data[at] == _PLUS or data[at] == _MINUS):
        sign = -1.0 if data[at] == _MINUS else 1.0
        at += 1
    start = at
    mantissa, power, digits, lost, at = _scan_digits(data, at, end)
    if digits == 0:
        return _scan_word(data, start, end, sign)
    if at < end and data[at] | _LOWER == _E:
        exponent, at, sound = _scan_exponent(data, at + 1, end)
        if not sound:
            return nan, at, NOT_A_NUMBER
        power += exponent
    if mantissa == _0:
        return sign * 0.0, at, READ
    if mantissa < _EXACT_INTEGER and -_EXACT_POWER <= power <= _EXACT_POWER and not lost:
        exact = np.float64(mantissa)
        return sign * (exact / _POWERS_OF_TEN[-power] if power < 0 else exact * _POWERS_OF_TEN[power]), at, READ
    value, sure = _nearest(mantissa, power)
    if sure and lost:
        above, sure = _nearest(mantissa + _1, power)
        sure = sure and above == value
    return (sign * value, at, READ) if sure else (nan, at, DEFERRED)


@compiled()
def _scan_digits(data: Bytes, at: int, end: int) -> tuple[np.uint64, int, int, bool, int]:
    """First 19 digits as an integer, the power of ten it is to be multiplied with, how many, whether some are lost."""
    start, mantissa, fraction = at, _0, 0
    while at < end:
        digit = np.uint64(data[at]) - _ZERO_64  # what is below zero wraps around, and is above nine too
        if digit > _9:
            break
        mantissa = mantissa * _BASE_64 + digit
        at += 1
    digits = at - start
    if at < end and data[at] == _POINT:
        at += 1
        point = at
        while at < end:
            digit = np.uint64(data[at]) - _ZERO_64
            if digit > _9:
                break
            mantissa = mantissa * _BASE_64 + digit
            at += 1
        fraction = at - point
        digits += fraction
    if digits <= _MOST_DIGITS:
        return mantissa, -fraction, digits, False, at
    mantissa, power, lost = _leading_digits(data, start, at)
    return mantissa, power, digits, lost, at


@compiled()
def _leading_digits(data: Bytes, start: int, stop: int) -> tuple[np.uint64, int, bool]:
    """What `_scan_digits` says of more digits than fit, nonzero ones among them or not."""
    mantissa, kept, power, lost, fraction = _0, 0, 0, False, 0
    for at in range(start, stop):
        digit = data[at] - _ZERO
        if data[at] == _POINT:
            fraction = 1
        elif kept < _MOST_DIGITS:
            mantissa = mantissa * _BASE_64 + np.uint64(digit)
            kept += mantissa != _0
            power -= fraction
        else:
            lost |= digit > 0
            power += 1 - fraction
    return mantissa, power, lost


@compiled()
def _scan_exponent(data: Bytes, at: int, end: int) -> tuple[int, int, bool]:
    """The integer behind an E, where it ends, and whether there is one."""
    negative = False
    if at < end and (data[at] == _PLUS or data[at] == _MINUS):
        negative = data[at] == _MINUS
        at += 1
    start, exponent = at, 0
    while at < end and 0 <= data[at] - _ZERO < _BASE:
        if exponent < _FARTHEST_EXPONENT:
            exponent = exponent * _BASE + data[at] - _ZERO
        at += 1
    return -exponent if negative else exponent, at, at > start


@compiled()
def _scan_word(data: Bytes, at: int, end: int, sign: float) -> tuple[float, int, int]:
    if matches(data, at, end, _INFINITY):
        return sign * inf, at + len(_INFINITY), READ
    if matches(data, at, end, _INF):
        return sign * inf, at + len(_INF), READ
    if matches(data, at, end, _NAN):
        return nan, at + len(_NAN), READ
    return nan, at, NOT_A_NUMBER


@compiled()
def matches(data: Bytes, at: int, end: int, word: Bytes) -> bool:
    """Whether a word of small letters stands here, however it is capitalised."""
    if end - at < len(word):
        return False
    for i in range(len(word)):  # noqa: SIM110 - machine code has no generators
        if data[at + i] | _LOWER != word[i]:
            return False
    return True


@compiled()
def _nearest(mantissa: np.uint64, power: int) -> tuple[float, bool]:
    """The double nearest to mantissa * 10**power, and whether that is sure.

    D. Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51 (2021), section 5.
    """
    if power < _SMALLEST_POWER or power > _LARGEST_POWER:
        return nan, False
    zeros = _leading_zeros(mantissa)
    scaled = mantissa << np.uint64(zeros)
    high, low = _product(scaled, _FIVES_HIGH[power - _SMALLEST_POWER])
    if high & _BELOW_MANTISSA == _BELOW_MANTISSA:
        more, _ = _product(scaled, _FIVES_LOW[power - _SMALLEST_POWER])
        low += more
        if more > low:
            high += _1
    if low == _ALL_64 and not -27 <= power <= 55:  # noqa: PLR2004 - the proof's bounds
        return nan, False
    upper = high >> _63
    shift = upper + _9
    rounded = high >> shift
    if low <= _1 and -4 <= power <= 23 and rounded & _3 == _1 and rounded << shift == high:  # noqa: PLR2004 - as above
        rounded &= ~_1  # exactly between two: to the even one
    rounded = (rounded + (rounded & _1)) >> _1
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - zeros - 52  # 217706 / 2**16: log2(10)
    return np.float64(rounded) * _POWERS_OF_TWO[exponent + _POWER_OF_TWO_0], True


@compiled()
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """All 128 bits of a product: the upper and the lower half."""
    a_high, a_low, b_high, b_low = a >> _32, a & _LOW_32, b >> _32, b & _LOW_32
    lowest, cross = a_low * b_low, a_high * b_low
    middle = (lowest >> _32) + (cross & _LOW_32) + a_low * b_high
    return a_high * b_high + (cross >> _32) + (middle >> _32), (middle << _32) | (lowest & _LOW_32)


@compiled()
def _leading_zeros(number: np.uint64) -> int:
    zeros = 0
    for width in (32, 16, 8, 4, 2, 1):
        if number >> np.uint64(64 - width) == _0:
            number <<= np.uint64(width)
            zeros += width
    return zeros
