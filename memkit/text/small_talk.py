"""Tells what is said to keep a conversation going from what says something."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 80  # characters; what is longer says something

# Each line is a language: what is said in one message is in one of them, as "no" of one and a word
# of another may be a sentence of a third. Behind "+" stand words that may follow each other
# without a comma. All others are a message, or a part of one between punctuation marks. What is
# not listed counts as content: a name or a number alone may be an answer, and so may "right",
# "left", "true" and "correct"; neither length nor rarity decides.
_LANGUAGES = """
en: no|nope|nah|no thanks|no thank you|no problem|no worries|my pleasure|any time|anytime|
    fine|that s fine|that s great|that s good|that s perfect|that s right|thats right|
    that is right|that s all|that is all|sounds good|sounds great|makes sense|
    many thanks|thanks a lot|thanks so much|thank you very much|thank you so much|
    thanks for that|thank you for that|thanks for your help|thank you for your help|
    you re welcome|youre welcome|you are welcome|welcome|please|pls|sorry|
    noted|saved|done|got it|i got it|gotcha|understood|i understand|i see|will do|
    i will remember that|i ll remember that|ill remember that|remembered|stored|added|updated|
    exactly|agreed|absolutely|definitely|indeed|well|
    good morning|good afternoon|good evening|good night|bye|goodbye|see you|see you later|
    see you soon|take care|how are you|how are you doing|i m fine|i m good|im fine|im good|
    i am fine|i am good|what s up|go on|continue|go ahead|next|let s go|lets go|haha|hahaha|lol
  + ok|okay|okey|kk|yes|yeah|yep|yup|sure|sure thing|alright|all right|of course|good|great|cool|
    nice|perfect|excellent|awesome|wonderful|lovely|brilliant|super|thanks|thank you|thx|cheers|
    hi|hello|hey|hi there|hello there|hey there|hm|hmm|mhm|uh|um|ah|oh|aha|wow
de: nein|nein danke|danke sehr|danke schön|danke schon|vielen dank|bitte|bitte schön|bitte sehr|
    gern|gerne|gern geschehen|gut|alles klar|verstanden|notiert|gespeichert|erledigt|genau|klar|
    natürlich|guten tag|guten morgen|guten abend|tschüss
  + ok|okay|ja|danke|dankeschön|super|hallo|prima
fr: non|non merci|merci beaucoup|bien|très bien|compris|noté|au revoir|s il vous plaît|de rien
  + ok|okay|oui|merci|d accord|daccord|parfait|bonjour|salut|super
es: no|no gracias|muchas gracias|de acuerdo|entendido|anotado|guardado|adiós|por favor|de nada|
    buenos días
  + ok|sí|si|gracias|vale|perfecto|hola
it: no|no grazie|grazie mille|va bene|capito|prego
  + ok|sì|si|grazie|perfetto|ciao
pt: não|muito obrigado|muito obrigada|entendi|anotado
  + ok|sim|obrigado|obrigada|olá|perfeito
nl: nee|nee bedankt|dank je|dank u|dank je wel|dank u wel|begrepen|genoteerd
  + ok|oké|ja|bedankt|prima|hallo
sv: nej|nej tack|tack så mycket|tusen tack|förstått|uppfattat|noterat|sparat
  + ok|okej|ja|tack|hej
da: nej|nej tak|mange tak|tusind tak|tusen takk|takk
  + ok|ja|tak|hej
pl: nie|nie dziękuję|dziękuję bardzo|dobrze|rozumiem|zapisane
  + ok|tak|dziękuję|dzięki|cześć
ru: нет|нет спасибо|большое спасибо|спасибо большое|понятно|понял|поняла|записано|сохранено|пока
  + ок|да|спасибо|хорошо|ладно|привет|здравствуйте
uk: ні|ні дякую|зрозуміло|добре
  + ок|так|дякую
tr: hayır|teşekkürler|teşekkür ederim|anladım
  + tamam|evet|sağol|merhaba
ar: لا|لا شكرا|شكرا لك|شكرا جزيلا|مفهوم
  + نعم|شكرا|حسنا|تمام|مرحبا
hi: नहीं|समझ गया
  + हाँ|हां|धन्यवाद|शुक्रिया|ठीक है|नमस्ते
ja: いいえ|わかりました|承知しました|保存しました|どうも|了解|了解です|了解しました
  + はい|ありがとう|ありがとうございます|こんにちは
zh: 不|不是|不用谢|明白|明白了|知道了|收到|已保存|已记录|再见
  + 好|好的|是|是的|谢谢|謝謝|谢谢你|你好
ko: 아니요|아니오|알겠습니다|알겠어요|저장했습니다
  + 네|예|감사합니다|고마워|고마워요|안녕하세요
"""

# Arabic vowel signs, such as those of "شكراً", are most often left out. Hindi's are letters.
_VOWEL_SIGNS = re.compile("[\u064b-\u0652\u0670]")
_PLACEHOLDER = re.compile(r"\[(?:image|audio|video|file)\]")
_Phrases = frozenset[str]


def _listed(phrases: str) -> _Phrases:
    return frozenset(_normal(" ".join(phrase.split())) for phrase in phrases.split("|"))


def _normal(text: str) -> str:
    return _VOWEL_SIGNS.sub("", unicodedata.normalize("NFKC", text).casefold())


def _languages() -> list[tuple[_Phrases, _Phrases]]:
    """For each language all its phrases, and those that may follow each other."""
    languages = []
    for language in re.split(r"^\w\w:", _LANGUAGES, flags=re.MULTILINE)[1:]:
        alone, joined = map(_listed, language.split(" + "))
        languages.append((alone | joined, joined))
    return languages


_KNOWN = _languages()


def is_small_talk(text: str) -> bool:
    """Whether a message says nothing that could be asked for later.

    These are acknowledgements, thanks, greetings and answers of one word such as "yes" in some
    twenty languages, and messages without a letter or digit. Several make one message if they are
    of one language and punctuation is between them, or as short words in a row: "ok great thanks".
    An unknown word is content.

    Example:
        >>> is_small_talk("OK, thank you!"), is_small_talk("OK, Tuesday."), is_small_talk("👍")
        (True, False, True)
        >>> is_small_talk("No, thanks."), is_small_talk("No good.")
        (True, False)
    """
    if len(text) > _LONGEST:
        return False
    parts = _parts(_normal(_PLACEHOLDER.sub(" ", text)))
    return any(
        all(" ".join(part) in known or _joins(part, joined) for part in parts)
        for known, joined in _KNOWN
    )


def _parts(text: str) -> list[list[str]]:
    """The words of each part between punctuation marks; an apostrophe is within one."""
    marked = "".join(_kept(character) for character in text)
    return [words for part in marked.split("\n") if (words := part.split())]


def _kept(character: str) -> str:
    kind = unicodedata.category(character)[0]
    if kind in "LMN":
        return character
    return " " if character in "'’‘`´" or kind == "Z" or character in "\t\n" else "\n"


def _joins(words: list[str], phrases: _Phrases) -> bool:
    """Whether words are nothing but phrases in a row."""
    if not words:
        return True
    return any(
        " ".join(words[:length]) in phrases and _joins(words[length:], phrases) for length in (1, 2)
    )
