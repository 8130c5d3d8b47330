"""Words and signs that people vote with beside those that the formats know."""

from typing import Final

from ..importers.shared.labels import label_key


def _labels(*words: str) -> frozenset[str]:
    return frozenset(label_key(word) for listed in words for word in listed.split())


UPS: Final = _labels(
    "great excellent helpful very_helpful correct right satisfied very_satisfied happy love loved accept accepted",
    "approve approved pass passed success win y + ++ perfect awesome useful relevant agree strongly_agree best better",
    "favorite star resolved solved ok_hand :+1: :thumbsup: thumbs_up_sign",
    "positiv ja sí si oui gut sehr_gut bien bon bueno hilfreich utile útil",
    "❤️ ⭐ ✅ ✔️ 😀 😃 😄 😊 🙂 😍 🎉 💯 🔥 🙌 👌 👏",
)
DOWNS: Final = _labels(
    "poor very_poor very_bad terrible awful wrong incorrect unhelpful not_helpful nothelpful unsatisfied dissatisfied",
    "very_dissatisfied unhappy hate hated reject rejected disapprove disapproved fail failed failure lose n - --",
    "useless irrelevant disagree strongly_disagree worst worse horrible not_good unresolved unsolved broken",
    ":-1: :thumbsdown: thumbs_down_sign negativ nein non schlecht sehr_schlecht mal mauvais malo nutzlos",
    "❌ ✖️ ✗ 😠 😡 🙁 ☹️ 😞 😢 💩 🤮 😕",
)
NEITHER: Final = _labels(
    "neutral meh ok okay so-so soso mixed none n/a na null nan skip skipped unknown undefined pending average medium",
    "fair maybe partial partially other ? no_feedback nofeedback no_vote novote not_rated neither neutro egal",
    "😐 😑 🤷",
)
