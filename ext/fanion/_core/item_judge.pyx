"""Which items of a batch are right, and what is said of the others; see `fanion_item_judge.h`. Knows no API: a
dialect describes its items, and `judge_table` keeps that.

What a fault reads like is the decoder's: it is asked for the first item that has it, and the words are kept for all
others; those that quote what was sent keep what stands around it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fanion._core.judge_table cimport *
from fanion._core.said cimport Said


cdef extern from "fanion_json_scan.h" nogil:
    uint64_t fanion_json_tokens_at_most(const uint8_t *text, uint64_t length, uint64_t most) noexcept

cdef enum:
    LENGTH_MAX = 0xFFFFFFFF
    WORDS_MAX = 4_096    # kinds of faults whose words are kept
    QUOTED_MAX = 128     # bytes of what is quoted; longer ones the decoder words
    ASKED_MAX = 8        # unsure items of a batch in which nothing is wrong; more are read together

cdef dict MARKS = {
    FANION_JUDGE_UNKNOWN: ("`", "`"), FANION_JUDGE_WRONG_CHOICE: ("'", "'"), FANION_JUDGE_WRONG_TAG: ("'", "'"),
    FANION_JUDGE_NO_MOMENT: (" ", ""),
}


cdef class ItemJudge(JudgeTable):
    """Judges batches of the kind that its table describes. One thread at a time.

    `within`: whether the batch that was judged last surely keeps every bound of a body, so that no scan has to look.
    """

    cdef c_bool kept

    @property
    def within(self):
        return self.kept

    def judge(self, bytes body not None, tuple fixed not None = ()):
        """Of each item "fine", "unsure" or the number of its fault; None for a batch of another shape. For tests."""
        cdef c_bool alone
        cdef int64_t count = self.run(body, fixed, &alone), n
        if count < 0:
            return None
        return [
            self.items[n].fault if self.items[n].verdict == FANION_JUDGE_WRONG
            else "fine" if self.items[n].verdict == FANION_JUDGE_FINE else "unsure"
            for n in range(count)
        ]

    def apart(self, bytes body not None, ask):
        """(columns, places, whether nothing stands beside the list) of a batch: for each note the texts, numbers and
        nulls of the items that are right, and for every item 1 where it is, else 0. `ask(text)` decides of an item of
        which the judge isn't sure: a tuple of the notes, or None for a wrong one. None for a batch of another shape,
        and for one that isn't `within`."""
        cdef c_bool alone
        cdef int64_t count = self.run(body, (), &alone), n
        cdef uint32_t number
        cdef list columns = [[] for _ in range(self.schema.note_count)]
        cdef fanion_judge_item *item
        cdef fanion_judge_text *notes
        cdef fanion_judge_text *last = NULL
        cdef tuple values = None
        if count <= 0 or not self.kept:
            return None
        cdef bytes places = PyBytes_FromStringAndSize(NULL, count)
        for n in range(count):
            item = &self.items[n]
            notes = self.notes + n * self.schema.note_count
            if item.verdict == FANION_JUDGE_UNSURE:
                values, last = ask(body[item.first:item.last]), NULL
            PyBytes_AS_STRING(places)[n] = item.verdict == FANION_JUDGE_FINE or (
                item.verdict == FANION_JUDGE_UNSURE and values is not None
            )
            if not PyBytes_AS_STRING(places)[n]:
                continue
            for number in range(self.schema.note_count):
                if item.verdict == FANION_JUDGE_UNSURE:
                    value = values[number]
                elif last != NULL and is_same(&notes[number], &last[number]):  # batches say the same all along
                    value = (<list>columns[number])[len(<list>columns[number]) - 1]
                else:
                    value = self.value_of(&notes[number])
                (<list>columns[number]).append(value)
            last = NULL if item.verdict == FANION_JUDGE_UNSURE else notes
        return columns, places, bool(alone)

    def leading(self, bytes body not None):
        """(columns, number, text) of a batch: for each note the texts of the items before the first that isn't fine,
        and that one; -1 and no text where all are. None for a batch of another shape, with something beside its list,
        or with an item of which the judge isn't sure."""
        cdef c_bool alone
        cdef int64_t count = self.run(body, (), &alone), n, found = -1
        cdef uint32_t number
        if count <= 0 or not alone:
            return None
        for n in range(count):
            if self.items[n].verdict == FANION_JUDGE_UNSURE:
                return None
            if found < 0 and self.items[n].verdict == FANION_JUDGE_WRONG:
                found = n
        columns = [self.texts_of(number, count if found < 0 else found) for number in range(self.schema.note_count)]
        return columns, found, b"" if found < 0 else body[self.items[found].first:self.items[found].last]

    def first(self, bytes body not None, tuple fixed not None = ()):
        """(items, number of the first that its decoder refuses, itself, whether all are fine) of a batch whose
        decoder ends at that one; number -1 and the first of all where there is none. None for a batch of another
        shape, with something beside its list, or with an item of which the judge isn't sure."""
        cdef c_bool alone
        cdef int64_t count = self.run(body, fixed, &alone), n, found = -1
        cdef bint fine = True
        cdef uint64_t kind
        cdef fanion_judge_item *item
        if count <= 0 or not alone:
            return None
        for n in range(count):
            if self.items[n].verdict == FANION_JUDGE_UNSURE:
                return None
            if self.items[n].verdict == FANION_JUDGE_WRONG:
                fine = False
                kind = self.items[n].fault >> 56
                if found < 0 and kind != FANION_JUDGE_NO_MOMENT and kind != FANION_JUDGE_ELSEWHERE:
                    found = n
        item = &self.items[max(found, <int64_t>0)]
        return count, found, body[item.first:item.last], fine

    cdef int64_t run(self, bytes body, tuple fixed, c_bool *alone) except -2:
        cdef fanion_flat_text texts[NOTES_MAX]
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(body)
        cdef uint64_t length = <uint64_t>len(body)
        cdef uint32_t n
        cdef bytes text
        if len(fixed) != <Py_ssize_t>self.schema.fixed_count:
            raise ValueError(f"{len(fixed)} fixed texts; {self.schema.fixed_count} are needed")
        if length > LENGTH_MAX:
            return -1
        for n in range(self.schema.fixed_count):
            text = fixed[n]  # kept by the tuple
            texts[n].text = text
            texts[n].length = <uint32_t>len(text)
        self.kept = False
        cdef bint whole = not self.schema.text_first or body.isascii() or fanion_judge_is_utf8(start, start + length)
        cdef uint64_t tokens = length  # each has a byte
        if length > self.bounds.batch_tokens_max:
            tokens = fanion_json_tokens_at_most(start, length, self.bounds.batch_tokens_max)
        return fanion_judge_batch(
            &self.schema, &self.bounds, start, length, tokens, whole, texts, self.items, self.notes, alone, &self.kept
        )

    def sort(
        self, bytes body not None, Said said not None, ask, tuple fixed not None = (), watched=None, check=None
    ):
        """None where the batch is to be read another way, else (columns, places, kept, left out).

        `ask(index, text)` decides of an item that the judge isn't sure of, whose words aren't known, or whose last
        note is `in watched`: it gives what is wrong, a tuple of the notes that aren't fixed, or None for one that is
        right and left out. `columns`: for each of those notes the right items' texts, None where one has none;
        `places`: their numbers, `kept`: themselves, with commas between; both None where all are right and nothing
        stands beside the list. What is wrong stands in `said` then. `check()` is called first of all where the body
        isn't `within`.
        """
        cdef c_bool alone
        cdef int64_t count = self.run(body, fixed, &alone), n
        cdef uint32_t first = self.schema.fixed_count, last = self.schema.note_count - 1
        cdef uint32_t wrong = 0, unsure = 0, number
        cdef uint64_t left_out = 0
        cdef fanion_judge_item *item
        cdef fanion_judge_text *notes
        cdef list columns = [[] for _ in range(last + 1 - first)], places = []
        cdef tuple words
        cdef bytes before = None, behind = None
        cdef uint64_t known = 0  # the fault whose words these are
        if count <= 0:
            return None
        for n in range(count):
            wrong += self.items[n].verdict == FANION_JUDGE_WRONG
            unsure += self.items[n].verdict == FANION_JUDGE_UNSURE
        if unsure > ASKED_MAX and not wrong:
            return None
        if check is not None and not self.kept:
            check()
        for n in range(count):
            item = &self.items[n]
            notes = self.notes + n * self.schema.note_count
            if item.verdict == FANION_JUDGE_WRONG:
                if said.full:
                    said.count += 1
                    continue
                if item.fault != known:
                    words, known = self._words.get(item.fault), item.fault
                    before, behind = (None, None) if words is None else words
                if behind is None and before is not None:
                    said.count += 1
                    said.put(<uint64_t>n, before, NULL, 0, None)
                    continue
                if before is not None and is_plain(&item.quote):
                    said.count += 1
                    said.put(<uint64_t>n, before, item.quote.at, item.quote.length, behind)
                    continue
            elif item.verdict == FANION_JUDGE_FINE and (
                watched is None or notes[last].at == NULL or self.text_of(&notes[last]) not in watched
            ):
                for number in range(first, last + 1):
                    (<list>columns[number - first]).append(self.text_of(&notes[number]))
                places.append(n)
                continue
            answer = ask(n, body[item.first:item.last])
            if isinstance(answer, str):
                said.say(<uint64_t>n, answer)
                if item.verdict == FANION_JUDGE_WRONG:
                    self.learn(item, <str>answer, said)
                    known = 0
            elif answer is None:
                left_out += 1
            else:
                for number in range(first, last + 1):
                    (<list>columns[number - first]).append((<tuple?>answer)[number - first])
                places.append(n)
        if len(places) == count and alone:
            return columns, None, None, left_out
        return columns, places, self.joined(body, places), left_out

    cdef int learn(self, fanion_judge_item *item, str message, Said said) except -1:
        """Keeps the words of a fault, with what stands before them in an entry."""
        if len(self._words) >= WORDS_MAX:
            self._words.clear()
        kind = item.fault >> 56
        marks = MARKS.get(kind)
        if marks is None or (kind == FANION_JUDGE_NO_MOMENT and not self.quotes_moments):
            self._words[item.fault] = said.words(message), None
        elif is_plain(&item.quote):
            quote = PyUnicode_DecodeLatin1(<const char *>item.quote.at, item.quote.length, NULL)
            before, found, behind = message.partition(f"{marks[0]}{quote}{marks[1]}")
            if found and (marks[1] or not behind):
                self._words[item.fault] = said.words_around(before + marks[0], marks[1] + behind)
        return 0

    cdef list texts_of(self, uint32_t number, int64_t count):
        """A note of the first `count` items; a text that stands there again is the same object."""
        cdef const fanion_judge_text *note = &self.notes[number]
        cdef list texts = []
        cdef int64_t n
        text = None
        for n in range(count):
            if n == 0 or not is_same(note, note - self.schema.note_count):
                text = self.text_of(note)
            texts.append(text)
            note += self.schema.note_count
        return texts

    cdef value_of(self, const fanion_judge_text *text):
        """As the decoder makes one: a number without fraction and exponent is an int, a raw value bytes."""
        cdef bytes digits
        if text.at != NULL and text.raw:
            return PyBytes_FromStringAndSize(<const char *>text.at, text.length)
        if text.at == NULL or not text.number:
            return self.text_of(text)
        digits = PyBytes_FromStringAndSize(<const char *>text.at, text.length)
        return int(digits) if digits.lstrip(b"-").isdigit() else float(digits)

    cdef text_of(self, const fanion_judge_text *text):
        if text.at == NULL:
            return None
        if text.escaped:
            return self._decode(PyBytes_FromStringAndSize(<const char *>text.at - 1, text.length + 2))
        if text.ascii:
            return PyUnicode_DecodeLatin1(<const char *>text.at, text.length, NULL)
        return PyUnicode_DecodeUTF8(<const char *>text.at, text.length, NULL)

    cdef bytes joined(self, bytes body, list places):
        cdef size_t size = 0, length
        cdef uint32_t n
        cdef fanion_judge_item *item
        for n in places:
            size += self.items[n].last - self.items[n].first + 1
        if not size:
            return b""
        cdef bytes made = PyBytes_FromStringAndSize(NULL, size - 1)
        cdef char *to = PyBytes_AS_STRING(made)
        cdef char *const_end = to + size - 1
        for n in places:
            item = &self.items[n]
            length = item.last - item.first
            memcpy(to, PyBytes_AS_STRING(body) + item.first, length)
            to += length
            if to < const_end:
                to[0] = c','
                to += 1
        return made


cdef bint is_same(const fanion_judge_text *one, const fanion_judge_text *other) noexcept:
    if one.at == NULL or other.at == NULL:
        return one.at == other.at
    if one.length != other.length or one.number != other.number:
        return False
    return memcmp(one.at, other.at, one.length) == 0


cdef bint is_plain(const fanion_judge_text *quote) noexcept:
    """Whether it reads the same in JSON, and can't be taken for the words around it."""
    cdef uint32_t n
    if quote.at == NULL or quote.escaped or not quote.ascii or not 0 < quote.length <= QUOTED_MAX:
        return False
    for n in range(quote.length):
        if quote.at[n] == c'`' or quote.at[n] == c"'" or quote.at[n] == 0x7F:
            return False
    return True
