"""Whether an object in a model's JSON denies the target, as with `"found": false` or `"label": "none"`."""

from __future__ import annotations

import re
from typing import Any

from reasonseg_ros.plain_text import shortened
from reasonseg_ros.reasoner.dialects.absence import denying_clause, is_denial
from reasonseg_ros.reasoner.dialects.keys import is_label

_ABSENCE = re.compile(
    r"^(?:(?:is|the|target|object)[_ ])*"
    r"(?:absent|missing|not?[_ ]?(?:found|present|visible|target|object|match|answer))$"
)
PRESENCE = re.compile(
    r"presen|exist|has_target|is_there"
    r"|(?<!fully)(?<!fully[_ ])(?<!completely[_ ])(?<!entirely[_ ])visib"
    r"|(?:^|[_ ])(?:found|detected|match(?:es|ed)?|relevant|selected|chosen)$"
)
"""Keys that say whether the target is there, or whether this object is it."""
_VERDICT = re.compile(r"answer|status|result|verdict|decision|conclu|respon|output")
_REASON = re.compile(r"reason|expla|rationale|though|think|analy|comment|note|remark|justif")
# A name of a few words: `No smoking` is a sign, and an empty cup is a cup.
_NO_NAME = re.compile(
    r"none|null|nil|n/?a|nothing|not (?:found|present|visible|applicable|available|detected|in (?:the|this) \w+)"
    r"|no (?:such |matching |suitable |relevant |valid )?"
    r"(?:objects?|targets?|match(?:es)?|items?|things?|results?|detections?|box(?:es)?|answers?)"
    r"|no (?:[\w'-]+ ){1,5}(?:(?:is |are |was |were )?(?:found|detected|visible|present|there)|in (?:the|this) \w+)"
    r"|无|無|没有|无目标|没有目标|不存在|未找到|没找到|없음|없습니다|なし|見つかりません"
)


def denial_in(keyed: dict[str, Any]) -> str:
    """The key and the words by which an object denies the target; empty if it does not."""
    return next((shortened(f"{key}: {item}", 120) for key, item in keyed.items() if _denies(key.lower(), item)), "")


def _denies(key: str, item: Any) -> bool:
    if _says_absent(key, item):
        return True
    if not isinstance(item, str):
        return False
    words = item.replace("_", " ")
    if is_label(key):
        return bool(_NO_NAME.fullmatch(" ".join(words.lower().split()).strip(" .!()[]")))
    if _VERDICT.search(key):
        return is_denial(words)
    return bool(_REASON.search(key) and denying_clause(words))


def _says_absent(key: str, item: Any) -> bool:
    if _ABSENCE.search(key):
        return item in (True, 1) or (isinstance(item, str) and item.strip().lower() in ("yes", "true", "1"))
    if not PRESENCE.search(key):
        return False
    return item in (False, 0) or (isinstance(item, str) and (item == "0" or is_denial(item.replace("_", " "))))
