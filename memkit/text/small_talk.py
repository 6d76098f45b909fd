"""Tells what is said to keep a conversation going from what says something."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 80  # characters; what is longer says something

# Whole phrases, case and punctuation aside. What is not listed counts as content: a name or a
# number alone may be an answer, so neither length nor rarity decides.
_PHRASES = """
    ok|okay|okey|k|kk|yes|yeah|yep|yup|no|nope|nah|sure|sure thing|right|alright|all right|fine|
    good|great|cool|nice|perfect|excellent|awesome|wonderful|lovely|brilliant|super|
    thanks|thank you|thx|ty|cheers|many thanks|thanks a lot|thank you very much|thank you so much|
    thanks so much|so much|very much|a lot|for that|for your help|please|pls|sorry|
    you re welcome|youre welcome|you are welcome|welcome|no problem|no worries|my pleasure|
    anytime|not at all|
    noted|saved|done|got it|gotcha|understood|i understand|i see|i know|i got it|will do|
    i will remember that|i ll remember that|ill remember that|remembered|stored|added|updated|
    sounds good|that s right|thats right|that is right|exactly|correct|agreed|of course|
    absolutely|definitely|
    indeed|true|makes sense|hm|hmm|mhm|uh|um|ah|oh|aha|wow|haha|hahaha|lol|well|so|and|but|then|
    hi|hello|hey|hi there|hello there|good morning|good afternoon|good evening|good night|bye|
    goodbye|see you|see you later|see you soon|take care|how are you|how are you doing|
    i m fine|i m good|im fine|im good|i am fine|i am good|what s up|go on|continue|go ahead|
    next|let s go|lets go|
    ja|nein|danke|danke schön|danke schon|vielen dank|dankeschön|bitte|bitte schön|gern|gerne|
    gut|alles klar|verstanden|notiert|gespeichert|erledigt|genau|klar|natürlich|hallo|guten tag|
    guten morgen|guten abend|tschüss|
    oui|non|merci|merci beaucoup|d accord|daccord|bien|très bien|compris|noté|parfait|bonjour|
    salut|au revoir|s il vous plaît|de rien|
    sí|si|gracias|muchas gracias|vale|de acuerdo|entendido|anotado|guardado|perfecto|hola|adiós|
    por favor|de nada|buenos días|
    grazie|grazie mille|va bene|capito|perfetto|ciao|prego|sì|
    sim|não|obrigado|obrigada|muito obrigado|entendi|anotado|olá|
    nee|dank je|dank u|bedankt|begrepen|genoteerd|prima|
    nej|tack|tack så mycket|hej|tak|takk|förstått|uppfattat|noterat|sparat|
    tak|nie|dziękuję|dzięki|dobrze|rozumiem|zapisane|cześć|
    да|нет|спасибо|большое спасибо|хорошо|понятно|понял|поняла|ладно|записано|сохранено|
    привет|здравствуйте|пока|
    так|ні|дякую|добре|зрозуміло|
    evet|hayır|tamam|teşekkürler|teşekkür ederim|sağol|anladım|merhaba|
    نعم|لا|شكرا|شكرا لك|حسنا|تمام|مفهوم|مرحبا|
    हाँ|हां|नहीं|धन्यवाद|शुक्रिया|ठीक है|समझ गया|नमस्ते|
    はい|いいえ|ありがとう|ありがとうございます|どうも|了解|了解です|了解しました|わかりました|
    承知しました|保存しました|こんにちは|
    好|好的|是|是的|不|不是|谢谢|謝謝|谢谢你|明白|明白了|知道了|收到|已保存|已记录|你好|再见|
    네|예|아니요|아니오|감사합니다|고마워|고마워요|알겠습니다|알겠어요|저장했습니다|안녕하세요
"""

_KNOWN = {" ".join(phrase.split()) for phrase in _PHRASES.split("|")}
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in _KNOWN)
_PLACEHOLDER = re.compile(r"\[(?:image|audio|video|file)\]")


def is_small_talk(text: str) -> bool:
    """Whether a message says nothing that could be asked for later.

    These are acknowledgements, thanks, greetings and answers of one word such as "yes" in some
    twenty languages, any number of them in a row, and messages without a letter or digit. An
    unknown word is content.

    Example:
        >>> is_small_talk("OK, thank you!"), is_small_talk("OK, Tuesday."), is_small_talk("👍")
        (True, False, True)
    """
    if len(text) > _LONGEST:
        return False
    composed = unicodedata.normalize("NFKC", _PLACEHOLDER.sub(" ", text)).casefold()
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in composed).split()
    place = 0
    while place < len(words):
        for length in range(min(_LONGEST_PHRASE, len(words) - place), 0, -1):
            if " ".join(words[place : place + length]) in _KNOWN:
                place += length
                break
        else:
            return False
    return True
