//! Modbus TCP client.
