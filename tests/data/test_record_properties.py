"""TFRecord framing: what is written is read, whatever the pieces, and no flipped bit or cut passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.texts import file_of, read_or_tell

from jaxepi.data.tfrecord import RecordFile, frame, stream_records
from jaxepi.errors import JaxepiError

payloads = st.lists(st.binary(max_size=40), max_size=5)


@given(payloads, st.integers(1, 30), st.randoms())
def test_records_are_those_that_were_written(records, piece, random):
    content = b"".join(map(frame, records))
    with file_of(content) as path:
        file = RecordFile(path)
        numbers = random.sample(range(len(records)), len(records))
        assert [file.read(number) for number in numbers] == [records[number] for number in numbers]
        pieces = (content[at : at + piece] for at in range(0, len(content), piece))
        assert list(stream_records(pieces, path)) == records


@given(payloads.filter(bool), st.data())
def test_no_flipped_bit_and_no_cut_passes(records, data):
    content = bytearray(b"".join(map(frame, records)))
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        ends = {sum(len(frame(record)) for record in records[:number]) for number in range(len(records) + 1)}
        del content[data.draw(st.integers(0, len(content) - 1).filter(lambda place: place not in ends)) :]
    with file_of(bytes(content)) as path:
        with pytest.raises(JaxepiError, match=path.name):
            list(stream_records([bytes(content)], path))
        with pytest.raises(JaxepiError, match=path.name):
            file = RecordFile(path)
            [file.read(number) for number in range(len(file))]


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_told(content):
    def read(path):
        file = RecordFile(path)
        return [file.read(number) for number in range(len(file))]

    assert read_or_tell(read, content) in (None, [])
