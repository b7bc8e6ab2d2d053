"""One form for what is written in many: names in two scripts, addresses, e-mail, telephone, dates.

Forms are for comparison alone: they are letters and digits in small Latin letters, whatever the
script of the text. What cannot be read becomes missing, which says nothing for or against.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.linkage.declared import Kind
from features.linkage.nicknames import NICKNAMES

HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
WORD = re.compile("[^\\W_]+")
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe",
                         "ı": "i"})  # fmt: skip
"""Letters that no decomposition takes apart."""
_FAMILIES = """
    欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳
    公冶 太叔 申屠 公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 闾丘 令狐"""
TWO_SIGNS = frozenset(_FAMILIES.split())
"""Family names of two signs; all others have one."""
ABBREVIATIONS = {
    "st": "street", "str": "strasse", "rd": "road", "ave": "avenue", "av": "avenue", "dr": "drive",
    "ln": "lane", "ct": "court", "cct": "circuit", "crt": "court", "pl": "place", "sq": "square",
    "cres": "crescent", "cl": "close", "hwy": "highway", "pde": "parade", "tce": "terrace",
    "blvd": "boulevard", "apt": "apartment", "bldg": "building", "lu": "road", "jie": "street",
}  # fmt: skip
ADDRESSED = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
SAME_DOMAIN = {"googlemail.com": "gmail.com"}
DOTS_IGNORED = frozenset({"gmail.com"})
TAGS_IGNORED = frozenset({
    "gmail.com", "outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com", "fastmail.com",
    "proton.me", "protonmail.com", "pm.me", "yandex.com", "zoho.com", "mailbox.org", "posteo.de",
})  # fmt: skip
"""Providers that deliver ``name+anything`` to ``name``."""
ISO_DATE = re.compile(r"(\d{4})\D?(\d{2})\D?(\d{2})(?!\d)")
DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
COUNTRY_GIVEN = re.compile(r"\+[\d ./-]+")


def normalised(texts: pa.ChunkedArray, kind: Kind, countries: pa.ChunkedArray | None) -> pa.Array:
    """``texts`` in the one form of their kind; every distinct text is worked on once.

    Parameters
    ----------
    countries
        ISO country of each record, for telephone numbers; None or missing: must be in the number.
    """
    if kind == "phone":
        known = pa.nulls(len(texts), pa.string()) if countries is None else countries
        pairs = pc.binary_join_element_wise(pc.fill_null(known, ""), texts, "\0")
        return _each(pairs, _phone)
    return _each(texts, FORMS[kind])


def _each(texts: Any, form: Callable[[str], str | None]) -> pa.Array:
    coded = pa.chunked_array([texts]) if isinstance(texts, pa.Array) else texts
    coded = coded.combine_chunks().dictionary_encode()
    forms = pa.array([form(text) or None for text in coded.dictionary.to_pylist()], pa.string())
    return forms.take(coded.indices)


def words(text: str) -> list[str]:
    """Small letters without accents, full-width forms narrowed, Chinese signs as their sounds.

    Signs are made simple ones first, so that both ways of writing a name sound the same.
    """
    text = unicodedata.normalize("NFKC", text)
    if HAN.search(text):
        text = _sounds(_simple(text))
    plain = unicodedata.normalize("NFKD", text.casefold().translate(LETTERS))
    kept = "".join(k for k in plain if not unicodedata.combining(k))
    return WORD.findall(kept.replace("'", "").replace("’", ""))


def full_name(text: str) -> str:
    """All names of a person in one order, as "Wang, Wei" and "Wei Wang" are one."""
    narrow = unicodedata.normalize("NFKC", text).strip()
    if HAN.search(narrow) and " " not in narrow:
        simple = _simple(narrow)
        family = 2 if simple[:2] in TWO_SIGNS and len(simple) > 2 else 1
        parts = ["".join(words(simple[:family])), "".join(words(simple[family:]))]
    else:
        parts = [NICKNAMES.get(word, word) for word in words(narrow)]
    return " ".join(sorted(filter(None, parts)))


def given_name(text: str) -> str:
    """A given name; a nickname as the name that it stands for."""
    if HAN.search(text):
        return "".join(words(text))
    return " ".join(NICKNAMES.get(word, word) for word in words(text))


def family_name(text: str) -> str:
    """A family name."""
    return "".join(words(text)) if HAN.search(text) else " ".join(words(text))


def email(text: str) -> str | None:
    """An address without what its provider ignores: case, ``+tag``, and dots at Gmail."""
    plain = unicodedata.normalize("NFKC", text).strip().casefold()
    if not ADDRESSED.fullmatch(plain):
        return None
    name, _, domain = plain.rpartition("@")
    domain = SAME_DOMAIN.get(domain, domain)
    if domain in TAGS_IGNORED:
        name = name.partition("+")[0]
    if domain in DOTS_IGNORED:
        name = name.replace(".", "")
    return f"{name}@{domain}" if name else None


def address(text: str) -> str:
    """Words of an address, abbreviations written out."""
    return " ".join(ABBREVIATIONS.get(word, word) for word in words(text))


def place(text: str) -> str:
    """Words of a place."""
    return " ".join(words(text))


def code(text: str) -> str:
    """Letters and digits of a number or code, without leading zeros."""
    return "".join(words(text)).lstrip("0")


def birth_date(text: str) -> str | None:
    """``YYYYMMDD`` of 1990-05-17, 19900517, 17.05.1990; other digits as they stand."""
    narrow = unicodedata.normalize("NFKC", text).strip()
    if found := ISO_DATE.match(narrow):
        return "".join(found.groups())
    if found := DAY_FIRST.fullmatch(narrow):
        day, month, year = found.groups()
        return f"{year}{month:>02}{day:>02}"
    return "".join(k for k in narrow if k.isdigit()) or None


FORMS: dict[Kind, Callable[[str], str | None]] = {
    "given_name": given_name, "family_name": family_name, "full_name": full_name, "email": email,
    "birth_date": birth_date, "address": address, "place": place, "code": code,
}  # fmt: skip


def _phone(pair: str) -> str | None:
    """E.164 of ``country`` NUL ``number``."""
    import phonenumbers

    country, _, text = pair.partition("\0")
    text = unicodedata.normalize("NFKC", text).strip()
    if COUNTRY_GIVEN.fullmatch(text):  # parsing takes fifty times as long and gives the same
        return _dialled("+" + "".join(k for k in text if k.isdigit()))
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return _dialled(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _dialled(number: str) -> str | None:
    """E.164 allows 15 digits; what has fewer than 8 with its country is an extension."""
    return number if 8 <= len(number) - 1 <= 15 else None


@cache
def _converter() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


def _simple(text: str) -> str:
    return str(_converter().convert(text))


@lru_cache(maxsize=100_000)
def _sounds(text: str) -> str:
    from pypinyin import lazy_pinyin

    return " ".join(lazy_pinyin(text, v_to_u=True))
