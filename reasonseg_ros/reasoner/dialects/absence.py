"""Whether a text concludes that the target is absent. In English, Chinese, Korean and Japanese.

The text is read clause by clause. A clause that denies the target counts, unless it denies something else (`there is no
doubt`, `no other object`, `no handle on this cup`), is itself denied or conditional, or is followed by a clause that
decides for an object after all (`however, the closest match is the bowl`).
"""

from __future__ import annotations

import re

_SCENE = (
    r"(?:here|(?:in|on|within|at|from) (?:the|this|that) (?:(?:given|provided|entire|whole|current|shown) )?"
    r"(?:image|picture|photo|photograph|scene|frame|view|table|tabletop|desk|floor|room|kitchen))"
)
_SEEN = r"(?:visible|present|available|shown|depicted|found|seen|detected|identified|located|to be (?:seen|found))"
_FITS = r"(?:fits?|match(?:es)?|suits?|qualif(?:y|ies)|meets?|satisf(?:y|ies)|corresponds?|works?|does|serves?)"
# No place inside: `no handle on this cup` says nothing about the cup.
_WORD = r"(?!(?:on|in|inside|at|under|below|above|behind|near|next|left|right|by|between|around)\b)[\w'/-]+"
_WORDS = rf"(?:{_WORD} ){{0,6}}?"
_THAT = r"(?:that|which|who|to(?! the\b)|for|with|matching|fitting|suitable|like)\b"

_IS = r"(?:is|are|was|were)"
_OF_THEM = r" of (?:the|these|those|them|which)(?: [\w'-]+)?"
_SUITABLE = r"(?:here|there|suitable|appropriate|usable|similar|like|close|right)"
_PICTURE = r"(?:image|picture|photo|photograph|scene|frame|table|tabletop|view|it)"
_HOW = r"(?:clearly |actually |really |currently |simply |even )?"

_ABSENT_FORMS = (
    # there is no hammer (in the image), there are not any pens here
    rf"\bthere (?:{_IS}|seems? to be|appears? to be) {_HOW}(?:no|not an?(?: single)?|not any) "
    + rf"{_WORDS}{_WORD}(?: {_SCENE}| {_SEEN}| {_THAT}|$)",
    rf"\bthere (?:is|are) (?:nothing|none)(?: {_SCENE}| {_THAT}|$)(?! (?:worry|doubt|suggest|indicate|say|add)\b)",
    # nothing fits, nothing can cut paper, none is visible
    rf"\b(?:nothing|none|neither) {_HOW}(?:{_FITS}\b|(?:can|could|would) (?!be seen)|{_IS} (?:{_SEEN}|{_SUITABLE}))",
    # none of these objects can, nothing here is red, none here
    rf"\b(?:none|neither){_OF_THEM} {_HOW}(?:{_FITS}\b|(?:{_IS}|can|could|would)\b)",
    rf"\b(?:nothing|none) {_SCENE}(?: {_HOW}(?:{_FITS}\b|(?:{_IS}|can|could|would)\b)|$)",
    # no object matches, no such cup is visible, no mug here
    rf"\bno (?:such )?{_WORDS}{_WORD} "
    + rf"(?:{_SCENE}|(?:(?:{_IS}|can be|could be) )?{_SEEN}|{_FITS}\b|exists?\b|appears?\b|{_IS} (?:there|here)\b)",
    # the hammer is not in the image, is missing, does not appear
    rf"\b{_IS} (?:not|nowhere|never) {_HOW}(?:there\b|{_SCENE}|{_SEEN}|an? object {_SCENE})",
    r"\b(?:is|are) (?:absent|missing(?: from (?:the|this)|$))",
    rf"\bdo(?:es)? not (?:seem to |appear to )?(?:exist|appear|occur)\b(?: {_SCENE}|$)",
    # the image does not contain a hammer, i can not find any
    rf"\b{_PICTURE} do(?:es)? not (?:seem to |appear to )?"
    + r"(?:contain|show|have|include|depict|feature) (?:any|an?|the|such)\b",
    r"\b(?:can not|could not|do not|did not|unable to|fail(?:ed)? to) "
    + r"(?:find|see|locate|detect|identify|spot) (?:any|anything|an?|the|such|it|one)\b",
    # the mug can not be found, i see no mug in the image
    rf"\b(?:can|could) not be {_HOW}(?:found|seen|located|detected|identified|spotted|recognized)\b",
    rf"\bi (?:can |could )?(?:see|find|found|detect|observe) no {_WORDS}{_WORD}(?: {_SCENE}|$)",
    r"\b(?:answer|result|list|output) (?:is|should be|must be|will be) (?:an? )?(?:empty|none|nothing|null|\[\])",
)
_ABSENT = re.compile("|".join(_ABSENT_FORMS))
# Chinese, Korean and Japanese. What is followed by `(a thing) that is ...` only describes: the cup that has no handle.
_ABSENT_EASTERN = re.compile(
    r"(?<!有)没有(?!问题|疑问|必要|关系|错|其他|其它|别的|更|人知道)(?!.{1,12}的.{1,12}[在是])"
    r"|不存在|(?:未能?|没)(?:找到|发现|看到|检测到|识别到|见到)|(?:找|看|见)不到|(?:无法|不能)(?:找到|识别|定位|检测|看到)"
    r"|并无|(?:^|[中里内上])无(?!法|论|关)|^无(?:目标|此|该|符合|匹配|相关|结果|$)|都不(?:符合|匹配|是)|没(?:有)?任何"
    r"|(?:沒有|找不到|不存在|未找到)"
    r"|(?:없(?:습니다|다|어요|음|네요|는 것으로)|(?:보이|존재하|발견되|나타나|포함되어 있)지 않|찾(?:을 수 없|지 못))"
    r"|(?:ありません|見つかりません|見当たりません|存在しません|いません|見えません|写っていません|(?:は|が)ない$|見つからない)"
)
_OTHERWISE_EASTERN = re.compile(
    r"是否|如果|假如|若|除了|除非|其他|其它|别的|疑问|怀疑|问题|의심|다른|외에|만약|문제|여지|他に|以外|もし|問題|間違い"
)
_SETTLED_EASTERN = re.compile(
    r"最接近|最像|最符合|选择|因此是|所以是|答案是|就是|可以用|가장|선택|대신|따라서 .*입니다|最も|選|代わりに"
)
_DENIED_EASTERN = re.compile(r"没|沒|无|不|없|않|못|ない|ません")
_EASTERN = re.compile("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
# The clause is not about the target's absence, or revokes it.
_OTHERWISE = re.compile(
    r"\b(?:doubt|question that|need|reason|others?|else|another|further|more|better|problem|issue|rest|remaining|"
    r"if|whether|unless|when|except|apart from|besides|nothing but|none but|"
    r"not (?:true|correct|right|the case|that|as if|mean|say|think|believe)|(?:wrong|false|incorrect) (?:to|that))\b"
)
# A later clause that decides for an object.
_SETTLED = re.compile(
    r"\b(?:but|however|yet|instead|still|nevertheless|nonetheless|although|closest|nearest|best|alternative|"
    r"substitute|most (?:likely|similar|suitable|relevant|closely)|choose|chosen|select(?:ed)?|pick(?:ed)?|"
    r"i (?:will |would |can |found|find|see|choose|select|pick|take|use)|is the (?:one|target|answer|object|only)|"
    r"matches|fits|can be used|could be used|serves?|works as|will do)\b"
)
_DENIED = re.compile(r"\b(?:no|not|nothing|none|never|neither|empty|null)\b")
_CONTRACTED = (
    (r"\u2019", "'"),
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"n't\b", " not"),
    (r"\b(it|there|that|what)'s\b", r"\1 is"),
)
# `nothing but` and `none but` do not contrast two clauses.
_CLAUSE_END = re.compile(
    r"[.;!?\n。\uff1b\uff01\uff1f]+|\uff0c|、|,? (?=(?<!nothing )(?<!none )(?:but|however|yet|although|though) )|,"
)

_LONGEST_TEXT = 20_000
_LONGEST_CLAUSE = 500
"""Maximum characters of a clause: a conclusion is at the end, in a clause of ordinary length."""

# A whole answer of a few words.
_SHORT_THING = r"(?:such |matching |suitable |valid |clear )?(?:[\w'-]+ ){0,4}[\w'-]+"
_DENIAL = re.compile(
    r"(?:no|none|nothing|null|nil|nan|empty|n/?a|absent|missing|false)"
    r"|(?:no|zero|0) (?!(?:problem|doubt|worr|idea|comment|need|way|clue|answer|question|reason|one\b))"
    rf"{_SHORT_THING}"
    r"|(?:it (?:is |was )?|(?:the )?(?:object|target|item) (?:is |was )?)?not (?:clearly )?"
    r"(?:found|present|visible|applicable|available|there|here|shown|seen|detected|identified|located|"
    r"in (?:the|this) \w+)"
    r"|(?:none|nothing) (?:was |were |is |are )?(?:found|detected|visible|present|match(?:es)?|fits?|seen|here|there)"
    r"|(?:无|没有|無|沒有|不存在|未找到|没找到|未发现|找不到|없음|없다|없습니다|없어요|なし|ない|ありません)"
)
# A short answer in a sentence. In a thought these may be about something else.
_DENYING_SENTENCE = re.compile(
    rf"\b{_PICTURE} (?:contains|shows|has|includes|depicts) (?:no|none|nothing)\b|\bthere (?:is|are) (?:not any|none)\b"
    r"|\b(?:not|unable to) (?:find|see|locate|detect|identify) any|^(?:none|neither) of (?:the|these|those|them)\b"
)
_QUOTES = " \t\r\n.,;:!?\"'`*_()[]{}<>。\uff0c\uff01\uff1f\u201c\u201d\u2018\u2019「」"


def is_denial(text: str) -> bool:
    """Whether a whole answer says that nothing fits, in a few plain words or in sentences."""
    words = " ".join(_plain_words(text[:_LONGEST_TEXT]).strip(_QUOTES).split())
    if len(words) > _LONGEST_CLAUSE or _OTHERWISE.search(words):
        return bool(denying_clause(text))
    is_sentence = _DENYING_SENTENCE.search(words) and not _SETTLED.search(words)
    return bool(_DENIAL.fullmatch(words) or is_sentence or denying_clause(text))


def denying_clause(thought: str) -> str:
    """The clause by which the thought concludes that nothing fits; empty if it does not."""
    verdict = ""
    for clause in _CLAUSE_END.split(_plain_words(thought[-_LONGEST_TEXT:])):
        clause = " ".join(clause.split())
        if len(clause) > _LONGEST_CLAUSE:
            continue
        if _EASTERN.search(clause):
            if _ABSENT_EASTERN.search(clause) and not _OTHERWISE_EASTERN.search(clause):
                verdict = clause
            elif verdict and _SETTLED_EASTERN.search(clause) and not _DENIED_EASTERN.search(clause):
                verdict = ""
            continue
        if _ABSENT.search(clause) and not _OTHERWISE.search(clause):
            verdict = clause
        elif verdict and _SETTLED.search(clause) and not _DENIED.search(clause):
            verdict = ""
    return verdict


def _plain_words(text: str) -> str:
    """In lower case, without contractions."""
    text = text.lower()
    for pattern, plain in _CONTRACTED:
        text = re.sub(pattern, plain, text)
    return text
