"""Does a thought conclude that the target is not there?

Read clause by clause. A clause that denies the target counts, unless it denies something else (`there is no doubt`,
`no other object`, `no handle on this cup`), is itself denied or conditional, or is followed by a clause that decides
for an object after all (`however, the closest match is the bowl`).
"""

from __future__ import annotations

import re

_SCENE = (
    r"(?:here|(?:in|on|within|at|from) (?:the|this|that) (?:(?:given|provided|entire|whole|current|shown) )?"
    r"(?:image|picture|photo|photograph|scene|frame|view|table|tabletop|desk|floor|room|kitchen))"
)
_SEEN = r"(?:visible|present|available|shown|depicted|found|seen|to be (?:seen|found))"
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
    + r"(?:find|see|locate|detect|identify|spot) (?:any|an?|the|such|it|one)\b",
    r"\b(?:answer|result|list|output) (?:is|should be|must be|will be) (?:an? )?(?:empty|none|nothing|null|\[\])",
)
_ABSENT = re.compile("|".join(_ABSENT_FORMS))
# The clause speaks of something else than the target's absence, or takes it back.
_OTHERWISE = re.compile(
    r"\b(?:doubt|question that|need|reason|others?|else|another|further|more|better|problem|issue|rest|remaining|"
    r"if|whether|unless|when|except|apart from|besides|nothing but|none but|"
    r"not (?:true|correct|right|the case|that|as if|mean|say|think|believe)|(?:wrong|false|incorrect) (?:to|that))\b"
)
# A later clause that settles on something.
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
# `nothing but` and `none but` are no turns of a sentence.
_CLAUSE_END = re.compile(r"[.;!?\n]+|,? (?=(?<!nothing )(?<!none )(?:but|however|yet|although|though) )|,")


def denying_clause(thought: str) -> str:
    """The clause by which the thought concludes that nothing fits; empty where it does not."""
    text = thought.lower()
    for pattern, plain in _CONTRACTED:
        text = re.sub(pattern, plain, text)
    verdict = ""
    for clause in _CLAUSE_END.split(text):
        clause = " ".join(clause.split())
        if _ABSENT.search(clause) and not _OTHERWISE.search(clause):
            verdict = clause
        elif verdict and _SETTLED.search(clause) and not _DENIED.search(clause):
            verdict = ""
    return verdict
