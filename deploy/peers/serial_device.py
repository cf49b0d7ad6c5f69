#!/usr/bin/python3
"""A device with a serial line, by pyserial, which records what it is sent:

    serial_device.py LINE RECORD

Commands go from ESC to CR, replies end with CR LF. It does what anybody tells it: VTD, VTG,
VTA and VTI read, VTg, VTs, VTt and VTv set. It writes the bytes of the line to RECORD as they
arrive, from an empty file on, and runs until it is ended.
"""
import sys

import serial

line, record = sys.argv[1:]
replies = {
    b"VTD": b"D 071 016 2.1\r\n",
    b"VTG": b"G O2 40.0\r\n",
    b"VTA": b"APNEA\r\nLOW O2\r\nEND\r\n",
    b"VTI": b"I 7100 1.4\r\n",
}
received = b""
with serial.Serial(line, 9600) as port:
    open(record, "wb").close()
    while True:
        byte = port.read(1)
        with open(record, "ab") as file:
            file.write(byte)
        received += byte
        if byte == b"\r":
            _, _, command = received.rpartition(b"\x1b")
            port.write(replies.get(command[:-1], b"OK\r\n" if command[2:3].islower() else b"ERR unknown\r\n"))
            received = b""
