#!/usr/bin/python3
"""A device with pymodbus, which records what it is sent:

    modbus_device.py PORT RECORD [ADDRESS]

It has 100 of each table from address 0 on, holding registers with their own address as
value, and writes the bytes of every connection to RECORD as they arrive. It runs until
it is ended.
"""
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncTcpServer
from pymodbus.server.async_io import ModbusConnectedRequestHandler

port, record = sys.argv[1:3]
address = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"


class Handler(ModbusConnectedRequestHandler):
    def data_received(self, data):
        with open(record, "ab") as file:
            file.write(data)
        super().data_received(data)


def block(values):
    return ModbusSequentialDataBlock(0, list(values))


tables = ModbusSlaveContext(
    di=block([1] * 100), co=block([0] * 100), hr=block(range(100)), ir=block([7] * 100), zero_mode=True
)
asyncio.run(
    StartAsyncTcpServer(
        context=ModbusServerContext(slaves=tables, single=True), address=(address, int(port)), handler=Handler
    )
)
