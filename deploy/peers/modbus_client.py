#!/usr/bin/python3
"""Performs operations with pymodbus, which has no TLS with a header that others know, all
on one connection:

    modbus_client.py PORT UNIT OPERATION...

An operation is FUNCTION=ARGUMENTS, as the library calls them: read_holding_registers=0,4 or
write_registers=11,[200]. Prints the library's own words for each answer, one a line.
"""
import ast
import sys

from pymodbus.client import ModbusTcpClient

port, unit, *operations = sys.argv[1:]
client = ModbusTcpClient("127.0.0.1", port=int(port), timeout=10)
if not client.connect():
    sys.exit("no connection")
for operation in operations:
    name, _, arguments = operation.partition("=")
    arguments = ast.literal_eval(f"({arguments},)") if arguments else ()
    if name == "readwrite_registers":
        keys = ("read_address", "read_count", "write_address", "write_registers")
        answer = client.readwrite_registers(**dict(zip(keys, arguments)), slave=int(unit))
    else:
        answer = getattr(client, name)(*arguments, slave=int(unit))
    print(getattr(answer, "registers", None) or answer)
client.close()
