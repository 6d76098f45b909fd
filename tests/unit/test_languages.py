"""Words of any language: what is written there is found by words alone, and compared alike."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.answering.grounding import agree
from memkit.rag.fusion import Ranking
from memkit.text.scripts import normal_form, spaced, terms
from memkit.text.words import content_stems, search_words

# For each language facts, and questions about them in the same order.
LANGUAGES = {
    "Chinese": (
        ("小明每天早上在河边的茶馆里喝绿茶。", "张伟的分机号码是四四七一。",
         "图书馆星期一不开门。"),
        ("谁喜欢喝茶？", "张伟的电话分机是多少？", "星期一可以去图书馆吗？"),
    ),
    "Japanese": (
        ("田中さんは毎朝コーヒーを飲みます。", "会議は木曜日の午後三時に始まります。",
         "倉庫の鍵は守衛室にあります。"),
        ("コーヒーを飲むのは誰ですか？", "会議は何時に始まりますか？", "倉庫の鍵はどこですか？"),
    ),
    "Thai": (
        ("สมชายชอบดื่มน้ำชาทุกเช้า", "ห้องสมุดปิดวันจันทร์", "กุญแจโกดังอยู่ที่ห้องยาม"),
        ("ใครชอบน้ำชา", "วันจันทร์ไปห้องสมุดได้ไหม", "กุญแจของโกดังอยู่ที่ไหน"),
    ),
    "Lao": (
        ("ສົມໃຈມັກດື່ມນ້ຳຊາທຸກເຊົ້າ", "ຫໍສະໝຸດປິດວັນຈັນ"),
        ("ໃຜມັກນ້ຳຊາ", "ວັນຈັນໄປຫໍສະໝຸດໄດ້ບໍ່"),
    ),
    "Khmer": (
        ("សុខាចូលចិត្តផឹកតែរៀងរាល់ព្រឹក", "បណ្ណាល័យបិទនៅថ្ងៃចន្ទ"),
        ("តើនរណាចូលចិត្តតែ", "តើបណ្ណាល័យបើកថ្ងៃចន្ទទេ"),
    ),
    "Burmese": (
        ("အောင်အောင်သည်မနက်တိုင်းလက်ဖက်ရည်သောက်သည်", "စာကြည့်တိုက်ကိုတနင်္လာနေ့တွင်ပိတ်သည်"),
        ("လက်ဖက်ရည်ကိုဘယ်သူသောက်သလဲ", "တနင်္လာနေ့မှာစာကြည့်တိုက်ဖွင့်သလား"),
    ),
    "Korean": (
        ("민수는 매일 아침 녹차를 마신다.", "서울에서 회의가 목요일에 열린다.",
         "창고 열쇠는 경비실에 있다."),
        ("녹차는 누가 마시나요?", "서울의 회의는 언제 열리나요?", "창고의 열쇠가 어디에 있나요?"),
    ),
    "Arabic": (
        ("يشرب سالم الشّاي كل صباح.", "رقم هاتف ليلى هو ٤٤٧١.", "المكتبة مغلقة يوم الاثنين."),
        ("من يشرب الشاي؟", "ما هو رقم هاتف ليلى؟", "هل المكتبة مغلقة يوم الإثنين؟"),
    ),
    "Hindi": (
        ("मोहन हर सुबह चाय पीता है।", "सीता का फ़ोन नंबर ४४७१ है।", "पुस्तकालय सोमवार को बंद रहता है।"),
        ("चाय कौन पीता है?", "सीता का फ़ोन नंबर क्या है?", "क्या पुस्तकालय सोमवार को खुला है?"),
    ),
    "Russian": (
        ("Пётр каждое утро пьёт чай.", "Номер телефона Ольги 4471.",
         "Библиотека закрыта в понедельник."),
        ("кто пьет чай", "Какой НОМЕР у телефона Ольги?", "библиотека закрыта в понедельник?"),
    ),
    "German": (
        ("Jürgen trinkt jeden Morgen grünen Tee.", "Die Bäckerei liegt in der Königstraße.",
         "Der Schlüssel hängt beim Pförtner."),
        ("Wer trinkt grunen Tee?", "Was liegt in der KÖNIGSTRASSE?", "Wo hängt der Schlüssel?"),
    ),
    "French": (
        ("Élodie boit du café chaque matin.", "Le numéro de téléphone de Zoé est le 4471.",
         "La bibliothèque est fermée le lundi."),
        ("Qui boit du cafe ?", "Quel est le numero de telephone de Zoe ?",
         "La BIBLIOTHÈQUE est fermée quel jour ?"),
    ),
    "Greek": (
        ("Ο Γιάννης πίνει τσάι κάθε πρωί.", "Ο δρόμος του Οδυσσέα είναι κλειστός."),
        ("ΠΟΙΟΣ ΠΙΝΕΙ ΤΣΑΙ;", "Είναι κλειστος ο δρομος;"),
    ),
    "Turkish": (
        ("Işıl her sabah çay içer.", "İzmir toplantısı perşembe günü."),
        ("ÇAY İÇER Mİ IŞIL?", "izmir toplantısı ne zaman?"),
    ),
    "Hebrew": (
        ("דָּנִי שׁוֹתֶה תֵּה כל בוקר.", "הספרייה סגורה ביום שני."),
        ("מי שותה תה?", "האם הספרייה סגורה ביום שני?"),
    ),
    "Persian": (
        ("رضا هر روز می‌نوشد چای سبز.", "کتابخانه دوشنبه‌ها بسته است."),
        ("چه کسی چای مینوشد؟", "کتابخانه دوشنبه‌ها بسته است؟"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory, opener):
    """A memory of all facts, in which only words count."""
    directory = tmp_path_factory.mktemp("multilingual") / "m"
    with opener(directory, backends=["rag"], ranking=Ranking(meaning=0.0)) as memory:
        memory.add([fact for facts, _ in LANGUAGES.values() for fact in facts])
        yield memory


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_right_record_is_first_by_words_alone(multilingual, language):
    facts, questions = LANGUAGES[language]
    for fact, question in zip(facts, questions, strict=True):
        hits = multilingual.search(question, k=3)
        assert hits[0].record.text == fact
        assert hits[0].parts["words"] > 0


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("Ｒｏｏｍ ４４７１", "room 4471"),
        ("room ٤٤٧١", "room 4471"),
        ("room ४४७१", "room 4471"),
        ("room ๔๔๗๑", "room 4471"),
        ("eﬃcient oﬀice", "efficient office"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("ガギグ", unicodedata.normalize("NFD", "ガギグ")),
        ("Zürich", unicodedata.normalize("NFD", "ZÜRICH")),
        ("m²", "m2"),
        ("co\u00adoperate", "cooperate"),
        ("كتـــاب", "كتاب"),
        ("ΟΔΥΣΣΕΥΣ", "Οδυσσεύς"),
        ("L'ŒUVRE", "l'oeuvre"),
        ("Lægen Ǽ", "laegen ae"),
        ("Straße", "strasse"),
        ("Łódź", "lodz"),
        ("Đường Søren Ħal", "duong soren hal"),
        (
            "\u05f0\u05d0\u05b7\u05e1\u05e2\u05e8",
            "\u05d5\u05d5\u05d0\u05e1\u05e2\u05e8",
        ),  # Yiddish "vaser"
        ("\u05f1 \u05f2 \ufb1f", "\u05d5\u05d9 \u05d9\u05d9 \u05d9\u05d9"),
        ("pass\u115f\u1160\u3164\uffa0word", "password"),
        ("\u1791\u17b4\u1780\u17b5", "\u1791\u1780"),  # Khmer
        (
            "\u1830\u1820\u1836\u180b\u180c\u180d\u180e\u180f\u1822",
            "\u1830\u1820\u1836\u1822",
        ),  # Mongolian
        ("葛\U000e0100飾\U000e01ef区", "葛飾区"),
        ("М\u02bcята", "м'ята"),
        ("Hawai\u02bbi", "Hawai'i"),
        (
            "\u06a9\u0644\u06cc\u062f",
            "\u0643\u0644\u064a\u062f",
        ),  # kelid, with Persian letters and Arabic ones
        ("\u0639\u0644\u0649", "\u0639\u0644\u064a"),
    ],
)
def test_other_ways_of_writing_the_same_words(written, asked):
    assert terms(written) == terms(asked)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("ASCII words: don't cut-4 them_here", "ascii words don t cut 4 them here"),
        ("绿茶", "绿 绿茶 茶"),
        ("茶", "茶"),
        ("在2024年", "在 2024 年"),
        ("iPhone手机", "iphone 手 手机 机"),
        ("น้ำ", "น้ํ น้ํา า"),
        ("किताब", "किताब"),
        ("a\u200bb", "a b"),
        ("。、！", ""),
    ],
)
def test_terms(text, cut):
    assert terms(text) == unicodedata.normalize("NFC", cut).split()


@pytest.mark.parametrize(
    ("said", "recorded"),
    [("L'œuvre", "l'oeuvre"), ("М\u02bcята", "м'ята"), ("葛\U000e0100飾", "葛飾"),
     ("pass\u3164word", "password"), ("\u06a9\u0644\u06cc\u062f", "\u0643\u0644\u064a\u062f")],
)  # fmt: skip
def test_router_and_answers_compare_in_the_same_form(said, recorded):
    assert content_stems(said) == content_stems(recorded)
    assert agree(said, recorded)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("What is plan A?", "plan a"),
        ("Where is vitamin A in the kitchen?", "vitamin a kitchen"),
        ("A plan for a house", "plan house"),
        ("Yes. A plan!", "yes plan"),
        ("Where did I put my keys?", "put keys"),
        ("Is it at the IT department?", "it department"),
        ("When does the US office close for us?", "us office close"),
        ("What did the WHO say?", "who say"),
        ("Where did The Who play?", "the who play"),
        ("Is Will coming?", "will coming"),
        ("Where Did The Band Play?", "band play"),
        ("I am late. The gate is shut, I think.", "late gate shut think"),
        ("WHERE IS THE KEY?", "key"),
        ("Who are they?", "who are they"),
    ],
)
def test_function_words_in_capitals_are_names(query, words):
    assert list(dict.fromkeys(search_words(query))) == list(dict.fromkeys(words.split()))


def test_of_a_long_text_both_ends_are_looked_up():
    filler = " ".join(f"lorem{number}" for number in range(1000))
    question = "What is the vault code QX81?"
    for text in (f"{question} {filler}", f"{filler} {question}"):
        for words, most in ((search_words(text), 200), (content_stems(text), 64)):
            assert {"vault", "code", "qx81", "lorem0", "lorem999"} <= set(words)
            assert len(words) == len(set(words)) == most
    middle = f"{filler} vault {filler} vault"  # what stands at the end may have stood before
    assert search_words(middle)[-1] == content_stems(middle)[-1] == "vault"


def test_a_question_behind_a_long_text_is_found_by_its_words(open_memory, tmp_path):
    signs = "".join(chr(0x4E00 + number) for number in range(400))
    with open_memory(tmp_path / "m", backends=["rag"], ranking=Ranking(meaning=0.0)) as memory:
        memory.add([f"{signs[start : start + 2]}。" for start in range(0, 400, 8)])
        memory.add("保险柜的密码是4471。", id="code")
        (first, *_) = memory.search(f"{signs}。保险柜的密码是多少？", k=3)
        assert first.id == "code"


def test_a_sign_alone_is_a_word():
    assert "茶" in search_words("茶?")
    assert set(search_words("茶")) <= set(terms("我喜欢喝绿茶"))


def test_the_router_reads_the_same_words():
    assert content_stems("What is Ｎｏｒａ's number ４４７１?") == ["nora", "number", "4471"]
    assert set(content_stems("绿茶")) == {"绿", "绿茶", "茶"}


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text):
    form = normal_form(text)
    assert normal_form(form) == form
    assert terms(form) == terms(text)
    assert spaced(form) == spaced(text)


@given(st.text())
def test_terms_hold_no_blanks_and_nothing_that_separates(text):
    for term in terms(text):
        assert term
        assert not any(character.isspace() or character in ".,;!?'\"" for character in term)


@given(st.text("abc XYZ.,'-", max_size=30))
def test_ascii_words_are_cut_at_all_but_letters_and_figures(text):
    plain = "".join(character if character.isalnum() else " " for character in text.lower())
    assert terms(text) == plain.split()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("她每天喝绿茶。", "绿茶"),
        ("分机号是４４７１。", "4471"),
        ("रंग नीला है", "नीला"),
        ("نمبر ٤٤٧١", "4471"),
        ("It is ١٬٢٥٠٫٥", "1250.5"),
        ("Zoé", "ZOE"),
        ("กุญแจอยู่ที่ห้องยาม", "ห้องยาม"),
        ("٦٠٣ ٥٥٦ ٧٦٣١", "603-556-7631"),
    ],
)
def test_the_same_answer_in_another_script(said, answer):
    assert agree(said, answer)


@pytest.mark.parametrize(
    ("said", "answer"),
    [("她喝红茶。", "绿茶"), ("किताब", "कताब"), ("٤٤٧٢", "4471"), ("茶绿", "绿茶")],
)
def test_another_answer_in_another_script(said, answer):
    assert not agree(said, answer)
