"""The words of K-Hairstyle's labels, Korean to English and back, for each field by itself.

One dictionary for all fields would be wrong: a word means different things in different fields, such as the one that is
"normal" for a hair's width, and a translation that fits one field silently mislabels another.
"""

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

BASESTYLES = {
    "가르마": "part", "기타남자스타일": "other men", "기타레이어드": "other layered", "기타여자스타일": "other women",
    "남자일반숏": "men regular short", "댄디": "dandy", "루프": "loop", "리젠트": "regent", "리프": "leaf",
    "미스티": "misty", "바디": "body", "베이비": "baby", "보니": "bonnie", "보브": "bob", "빌드": "build",
    "소프트투블럭댄디": "soft two-block dandy", "숏단발": "short bob", "쉐도우": "shadow", "쉼표": "comma",
    "스핀스왈로": "spin swallow", "시스루댄디": "see-through dandy", "애즈": "as", "에어": "air",
    "여자일반숏": "women regular short", "원랭스": "one-length", "원블럭댄디": "one-block dandy", "테슬": "tassel",
    "포마드": "pomade", "플리츠": "pleats", "허쉬": "hush", "히피": "hippie",
}  # fmt: skip
YES_NO = {"유": "yes", "무": "no"}
CURL_CODES = ("S", "SS", "S3", "SC", "C", "CC", "CS", "J")
RATIOS = ("2:8", "3:7", "4:6", "5:5", "6:4", "7:3", "8:2")

# Fields are spelled with hyphens; labels have some of them with underscores.
VOCABULARY: Mapping[str, Mapping[str, str]] = {
    "basestyle": BASESTYLES,
    "basestyle-type": {"단": "short", "장": "long"},
    "length": {"남자": "men's", "여숏": "women's short", "단발": "bob", "중발": "medium", "장발": "long"},
    "curl": {"X": "none", **{code: code for code in CURL_CODES}},
    "natural-curl": {"생머리": "straight", "반곱슬": "wavy", "곱슬": "curly", "강곱슬": "tightly curly"},
    "hair-width": {"얇음": "thin", "보통": "normal", "굵음": "thick"},
    "bang": {
        "풀뱅": "full", "시스루": "see-through", "처피뱅": "choppy", "살짝 넘긴스타일": "lightly swept",
        "페이스라인에 통합": "merged into face line", "기타(남자 내림머리)": "other (men's down)", "해당없음": "n/a",
    },
    "side": {"원블럭": "one-block", "투블럭": "two-block", "해당없음": "n/a"},
    "loss": {"탈모아님": "none", "초기탈모": "early", "부분탈모": "partial", "탈모": "hair loss"},
    "partition": {**{ratio: ratio for ratio in RATIOS}, "가르마없음": "no parting"},
    "sex": {"남": "male", "여": "female"},
    "vertical": {"상": "upper", "중": "middle", "하": "lower"},
    "damage": {"버진": "virgin", "건강모": "healthy", "손상모": "damaged", "극손상모": "severely damaged"},
    "melanin-color": {"적멜라닌": "red melanin", "황멜라닌": "yellow melanin"},
    "water-repellency": YES_NO,
    "black-colorize": YES_NO,
    "patch-test": YES_NO,
    "color": {
        "블랙": "black", "자연갈색": "natural brown", "적갈색": "reddish brown", "황갈색": "golden brown",
        "애쉬브라운": "ash brown", "핑크브라운": "pink brown", "옴브레": "ombre", "투톤": "two-tone", "기타": "other",
    },
}  # fmt: skip
# Compared in lower case.
EMPTY = {"", "nan", "none", "null", "na", "n/a"}


@lru_cache(maxsize=1024)
def to_english(field: str, value: str) -> str | None:
    """The English of `value` in `field` of `VOCABULARY`; None for a word the field does not have.

    Hangul may come decomposed, as macOS writes it; case and the blanks around are ignored.
    """
    words = {_plain(korean): english for korean, english in VOCABULARY[field].items()}
    return words.get(_plain(value))


def to_korean(field: str, english: str) -> str:
    """What a label writes for `english` in `field`, both of `VOCABULARY` (KeyError if not)."""
    return {word: korean for korean, word in VOCABULARY[field].items()}[english]


def is_empty(value: object) -> bool:
    """Whether a label's value stands for nothing: null, a float NaN, or one of the empty markers."""
    return value is None or value != value or (isinstance(value, str) and value.strip().casefold() in EMPTY)


def style_folder(korean: str) -> str:
    """The folder of a basestyle: "0001.가르마" for the first."""
    return f"{list(BASESTYLES).index(korean) + 1:04d}.{korean}"


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split()).casefold()
