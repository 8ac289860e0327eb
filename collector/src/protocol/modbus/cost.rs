//! What reading costs: bytes on the wire, and the time it is expected to take. Pure: nothing is asked.
//!
//! Frame lengths: Modbus Messaging on TCP/IP Implementation Guide V1.0b, 3.1 (7 bytes of header), and Modbus over Serial
//! Line V1.02, 2.5.1 (address and CRC, 3 bytes); PDUs: Modbus Application Protocol V1.1b3, 6.1-6.4.

use super::{Block, Function};

/// How a frame is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP.
    Tcp,
    /// RTU: on a serial line, or on TCP as a transparent converter hands it over.
    Rtu,
}

/// The bits of a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialBits {
    /// Bits per second.
    pub baud: u32,
    /// Bits of a character on the wire with start, parity and stop bits: 10 for 8N1, 11 for 8E1 and 8O1.
    pub bits_per_character: u8,
}

impl SerialBits {
    /// Time of so many characters, in microseconds.
    pub fn characters_us(self, count: usize) -> u64 {
        let bits = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(u64::from(self.bits_per_character));
        bits.saturating_mul(1_000_000).div_ceil(u64::from(self.baud.max(1)))
    }
}

/// A way to devices, as far as it costs time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// How frames are wrapped.
    pub framing: Framing,
    /// The serial line on the way, where there is one that is known.
    pub serial: Option<SerialBits>,
    /// Silence kept before each request, in microseconds.
    pub quiet_us: u64,
    /// Pause kept after each answer, in microseconds.
    pub between_requests_us: u64,
    /// Assumed: from the last byte of a request to the first of its answer, in microseconds. On TCP the round trip and
    /// what the device takes; on a serial line what the device takes.
    pub answer_us: u64,
    /// Requests on their way at once: they share the wait for answers.
    pub in_flight: u8,
}

/// What one cycle of reads costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Reads.
    pub requests: u64,
    /// Bytes to the device.
    pub bytes_out: u64,
    /// Bytes from the device.
    pub bytes_in: u64,
    /// Expected time, in microseconds.
    pub time_us: u64,
}

impl Path {
    /// Bytes of a read request.
    pub const fn request_bytes(&self) -> usize {
        match self.framing {
            Framing::Tcp => 12,
            Framing::Rtu => 8,
        }
    }

    /// Bytes of the answer to a read of so many registers or bits.
    pub fn answer_bytes(&self, function: Function, quantity: u16) -> usize {
        let quantity = usize::from(quantity);
        let data = if function.reads_bits() { quantity.div_ceil(8) } else { quantity.saturating_mul(2) };
        // Function code and byte count, and what wraps them.
        data.saturating_add(match self.framing {
            Framing::Tcp => 9,
            Framing::Rtu => 5,
        })
    }

    /// The cost of asking for all blocks once, one after the other, when everything is answered.
    pub fn cost(&self, blocks: &[Block]) -> Cost {
        blocks.iter().fold(Cost::default(), |cost, block| {
            let (out, answer) = (self.request_bytes(), self.answer_bytes(block.function, block.quantity));
            let wire_us = self.serial.map_or(0, |bits| bits.characters_us(out).saturating_add(bits.characters_us(answer)));
            let answer_us = self.answer_us.div_ceil(u64::from(self.in_flight.max(1)));
            let time_us = [wire_us, self.quiet_us, answer_us, self.between_requests_us].into_iter().fold(0, u64::saturating_add);
            let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
            Cost {
                requests: cost.requests.saturating_add(1),
                bytes_out: cost.bytes_out.saturating_add(count(out)),
                bytes_in: cost.bytes_in.saturating_add(count(answer)),
                time_us: cost.time_us.saturating_add(time_us),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(function: Function, quantity: u16) -> Block {
        Block { function, address: 0, quantity, members: Vec::new() }
    }

    #[test]
    fn costs_are_those_of_the_standards() {
        let tcp = Path { framing: Framing::Tcp, serial: None, quiet_us: 0, between_requests_us: 0, answer_us: 10_000, in_flight: 1 };
        let bits = SerialBits { baud: 9_600, bits_per_character: 10 };
        let rtu = Path {
            framing: Framing::Rtu,
            serial: Some(bits),
            quiet_us: 3_646,
            between_requests_us: 20_000,
            answer_us: 50_000,
            in_flight: 1,
        };
        for (what, path, blocks, bytes, time_us) in [
            ("nothing", tcp, vec![], (0, 0), 0),
            ("tcp, ten registers", tcp, vec![block(Function::InputRegisters, 10)], (12, 29), 10_000),
            ("tcp, nine coils", tcp, vec![block(Function::Coils, 9)], (12, 11), 10_000),
            // 8 + 25 characters of 10 bits at 9600 baud: 8333.4 and 26041.7 us; 3.5 characters: 3646 us.
            ("rtu", rtu, vec![block(Function::HoldingRegisters, 10)], (8, 25), 8_334 + 26_042 + 3_646 + 50_000 + 20_000),
            ("four at once", Path { in_flight: 4, ..tcp }, vec![block(Function::Coils, 1); 4], (48, 40), 10_000),
            ("two blocks", tcp, vec![block(Function::Coils, 1), block(Function::InputRegisters, 125)], (24, 10 + 259), 20_000),
        ] {
            let cost = path.cost(&blocks);
            assert_eq!(((cost.bytes_out, cost.bytes_in), cost.time_us), (bytes, time_us), "{what}");
            assert_eq!(cost.requests, u64::try_from(blocks.len()).unwrap());
        }
    }
}
