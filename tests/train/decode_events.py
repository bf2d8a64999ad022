"""Decodes a TensorBoard event file on its own terms (no TensorFlow): one line per event, checksums verified.

Output: "version <text>" for the first event, then "<tag> <step> <value>" per scalar.
"""
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(data[at:at + 8]), "length checksum"
        body = data[at + 12:at + 12 + length]
        assert len(body) == length, "torn record"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), "data checksum"
        yield body
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def message(data):
    """Field number -> last value of a protobuf message."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            fields[number], at = varint(data, at)
        elif wire == 1:
            fields[number], at = struct.unpack_from("<d", data, at)[0], at + 8
        elif wire == 5:
            fields[number], at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            assert wire == 2, wire
            length, at = varint(data, at)
            fields[number], at = data[at:at + length], at + length
    return fields


for record in records(open(sys.argv[1], "rb").read()):
    event = message(record)
    assert event[1] > 0, "no wall time"
    if 3 in event:
        print("version", event[3].decode())
    if 5 in event:
        value = message(message(event[5])[1])
        print(value[1].decode(), event[2], "%.6g" % value[2])
