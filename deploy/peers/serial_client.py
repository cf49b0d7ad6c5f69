#!/usr/bin/python3
"""A workstation with pyserial, which takes a terminal server's port for a serial line:

    serial_client.py PORT COMMAND...

It sends each command between ESC and CR, and prints the lines that answer it, up to one that
is not of a list.
"""
import sys

import serial

port, *commands = sys.argv[1:]
with serial.serial_for_url("socket://127.0.0.1:" + port, timeout=20) as line:
    for command in commands:
        line.write(b"\x1b" + command.encode() + b"\r")
        while True:
            reply = line.read_until(b"\r\n")
            if not reply.endswith(b"\r\n"):
                sys.exit("no reply to " + command)
            print(reply[:-2].decode(), flush=True)
            if command != "VTA" or reply.startswith((b"END", b"ERR")):
                break
