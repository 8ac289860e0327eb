//! Columns of a block: a sequence of `i64`, written by whichever codec makes it small.
//!
//! A column starts with its codec byte. The number of values is known from the block:
//!
//! | codec | name | what follows |
//! |---|---|---|
//! | 0 | constant | zigzag varint: the value |
//! | 1 | packed | zigzag varint: the smallest value; 1 byte: width in bits, 1-64; all values less the smallest, `width` bits each, least significant bit first, padded to a byte |
//! | 2 | pco | varint: length; that many bytes: a standalone `pco` file of `i64` |
//! | 3 | runs | varint: number of runs; per run varint: length, zigzag varint: value |
//! | 4 | grid | varint: step; zigzag varint: origin; a column of n - 1 differences of `q`; a column of n values `r`; value = origin + q * step + r, the first q is 0 |
//! | 5 | delta | zigzag varint: first value; a column of n - 1 differences |
//!
//! Arithmetic wraps at 64 bits. Columns within a column (4, 5) nest at most [`DEPTH_MAX`] deep.

use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use super::varint;

const CONSTANT: u8 = 0;
const PACKED: u8 = 1;
const PCO: u8 = 2;
const RUNS: u8 = 3;
const GRID: u8 = 4;
const DELTA: u8 = 5;

/// Deepest nesting that is read; what we write nests twice.
const DEPTH_MAX: u8 = 4;

/// Level of `pco`: above it the time grows, the bytes hardly shrink.
const PCO_LEVEL: usize = 8;

/// What `pco` spends on headers and bins of a column of a few hundred values, roughly.
const PCO_OVERHEAD_BITS: u64 = 45 * 8;

/// Appends a column of values that wander: the codec is chosen by size.
pub(super) fn encode(values: &[i64], out: &mut Vec<u8>) {
    if encode_simple(values, out) {
        return;
    }
    let first = differences(values);
    let second = differences(&first);
    let plain = Shape::of(values);
    let once = Shape::of(&first);
    let twice = Shape::of(&second);
    let best_packed = plain.packed_bits.min(once.packed_bits).min(twice.packed_bits);
    let best_coded = plain.coded_bits.min(once.coded_bits).min(twice.coded_bits);
    let start = out.len();
    if best_packed == plain.packed_bits {
        pack(values, plain, out);
    } else {
        out.push(DELTA);
        varint::put_signed(out, values.first().copied().unwrap_or(0));
        if best_packed == once.packed_bits {
            if !encode_simple(&first, out) {
                pack(&first, once, out);
            }
        } else {
            out.push(DELTA);
            varint::put_signed(out, first.first().copied().unwrap_or(0));
            if !encode_simple(&second, out) {
                pack(&second, twice, out);
            }
        }
    }
    // pco is tried only where its finer bins should pay; it costs ten times the rest.
    if best_coded.saturating_add(PCO_OVERHEAD_BITS) < best_packed.saturating_sub(best_packed / 16) {
        let order = if best_coded == plain.coded_bits {
            0
        } else if best_coded == once.coded_bits {
            1
        } else {
            2
        };
        if let Some(bytes) = pco_bytes(values, order).filter(|bytes| bytes.len() + 3 < out.len() - start) {
            out.truncate(start);
            out.push(PCO);
            varint::put(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a column of times: mostly a regular step, with or without jitter.
pub(super) fn encode_times(values: &[i64], out: &mut Vec<u8>) {
    let steps = differences(values);
    if let Some((step, origin)) = grid_of(values, &steps) {
        let mut rest = Vec::with_capacity(values.len());
        let mut cells = Vec::with_capacity(values.len());
        for &value in values {
            let offset = value.wrapping_sub(origin);
            cells.push(offset.div_euclid(step));
            rest.push(offset.rem_euclid(step));
        }
        out.push(GRID);
        varint::put(out, step as u64);
        varint::put_signed(out, origin);
        encode(&differences(&cells), out);
        encode(&rest, out);
    } else {
        encode(values, out);
    }
}

/// Takes a column of `count` values off the front of `input`; `None` when the bytes make no sense.
pub(super) fn decode(input: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    decode_nested(input, count, 0)
}

fn decode_nested(input: &mut &[u8], count: usize, depth: u8) -> Option<Vec<i64>> {
    if depth > DEPTH_MAX {
        return None;
    }
    match varint::take_byte(input)? {
        CONSTANT => Some(vec![varint::take_signed(input)?; count]),
        PACKED => {
            let least = varint::take_signed(input)?;
            let width = u32::from(varint::take_byte(input)?);
            if !(1..=64).contains(&width) {
                return None;
            }
            let length = count.checked_mul(width as usize)?.div_ceil(8);
            Some(unpack(varint::take_bytes(input, length)?, width, least, count))
        }
        PCO => {
            let length = usize::try_from(varint::take(input)?).ok()?;
            let bytes = varint::take_bytes(input, length)?;
            let mut values = vec![0i64; count];
            let progress = pco::standalone::simple_decompress_into(bytes, &mut values).ok()?;
            (progress.n_processed == count).then_some(values)
        }
        RUNS => {
            let runs = varint::take(input)?;
            let mut values = Vec::with_capacity(count);
            for _ in 0..runs {
                let length = usize::try_from(varint::take(input)?).ok()?;
                let value = varint::take_signed(input)?;
                if length > count.checked_sub(values.len())? {
                    return None;
                }
                values.resize(values.len() + length, value);
            }
            (values.len() == count).then_some(values)
        }
        GRID => {
            let step = varint::take(input)? as i64;
            let origin = varint::take_signed(input)?;
            let cells = decode_nested(input, count.checked_sub(1)?, depth + 1)?;
            let mut values = decode_nested(input, count, depth + 1)?;
            let mut start = origin;
            let mut cells = cells.into_iter();
            for value in &mut values {
                *value = value.wrapping_add(start);
                start = start.wrapping_add(cells.next().unwrap_or(0).wrapping_mul(step));
            }
            Some(values)
        }
        DELTA => {
            let first = varint::take_signed(input)?;
            let steps = decode_nested(input, count.checked_sub(1)?, depth + 1)?;
            let mut values = Vec::with_capacity(count);
            let mut value = first;
            values.push(value);
            for step in steps {
                value = value.wrapping_add(step);
                values.push(value);
            }
            Some(values)
        }
        _ => None,
    }
}

/// Writes a column that is constant or has few runs; false when it is neither.
fn encode_simple(values: &[i64], out: &mut Vec<u8>) -> bool {
    let first = values.first().copied().unwrap_or(0);
    let runs = 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if runs == 1 {
        out.push(CONSTANT);
        varint::put_signed(out, first);
        return true;
    }
    if runs > values.len() / 24 {
        return false;
    }
    out.push(RUNS);
    varint::put(out, runs as u64);
    for run in values.chunk_by(|a, b| a == b) {
        varint::put(out, run.len() as u64);
        varint::put_signed(out, run.first().copied().unwrap_or(0));
    }
    true
}

fn differences(values: &[i64]) -> Vec<i64> {
    values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
}

/// What a column would take, packed and entropy coded.
#[derive(Clone, Copy)]
struct Shape {
    least: i64,
    width: u32,
    packed_bits: u64,
    coded_bits: u64,
}

impl Shape {
    fn of(values: &[i64]) -> Self {
        let least = values.iter().copied().min().unwrap_or(0);
        let most = values.iter().copied().max().unwrap_or(0);
        let range = most.wrapping_sub(least) as u64;
        let width = 64 - range.leading_zeros();
        let count = values.len() as u64;
        let coded_bits = if range < 256 {
            let mut counts = [0u32; 256];
            for value in values {
                if let Some(slot) = counts.get_mut(value.wrapping_sub(least) as usize) {
                    *slot += 1;
                }
            }
            let total = count as f64;
            let bits: f64 = counts.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) * (total / f64::from(n)).log2()).sum();
            bits as u64
        } else {
            // About the middle of the range of a sample of them, the length in bits is close to what bins reach.
            let middle = middle_of(values);
            values.iter().map(|value| u64::from(64 - varint::zigzag(value.wrapping_sub(middle)).leading_zeros())).sum::<u64>() + count / 2
        };
        Self { least, width: width.max(1), packed_bits: count * u64::from(width), coded_bits }
    }
}

/// The median of up to 31 evenly spread values.
fn middle_of(values: &[i64]) -> i64 {
    let stride = (values.len() / 31).max(1);
    let mut sample: Vec<i64> = values.iter().step_by(stride).copied().collect();
    sample.sort_unstable();
    sample.get(sample.len() / 2).copied().unwrap_or(0)
}

fn pack(values: &[i64], shape: Shape, out: &mut Vec<u8>) {
    out.push(PACKED);
    varint::put_signed(out, shape.least);
    out.push(shape.width as u8);
    let mut pending = 0u128;
    let mut bits = 0;
    for value in values {
        pending |= u128::from(value.wrapping_sub(shape.least) as u64) << bits;
        bits += shape.width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
    }
}

fn unpack(bytes: &[u8], width: u32, least: i64, count: usize) -> Vec<i64> {
    let mask = u64::MAX >> (64 - width);
    let mut pending = 0u128;
    let mut bits = 0;
    let mut bytes = bytes.iter();
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        while bits < width {
            pending |= u128::from(bytes.next().copied().unwrap_or(0)) << bits;
            bits += 8;
        }
        values.push(least.wrapping_add((pending as u64 & mask) as i64));
        pending >>= width;
        bits -= width;
    }
    values
}

fn pco_bytes(values: &[i64], order: usize) -> Option<Vec<u8>> {
    let delta = if order == 0 { DeltaSpec::NoOp } else { DeltaSpec::TryConsecutive(order) };
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL).with_mode_spec(ModeSpec::Classic).with_delta_spec(delta);
    pco::standalone::simple_compress(values, &config).ok()
}

/// Step and origin of a grid that most of `values` lie near; `None` when they are exactly regular or not at all.
fn grid_of(values: &[i64], steps: &[i64]) -> Option<(i64, i64)> {
    let first = *values.first()?;
    if steps.len() < 8 || steps.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let median = middle_of(steps);
    let step = [1000, 100].into_iter().find_map(|unit| {
        let rounded = median.checked_add(unit / 2)?.div_euclid(unit).checked_mul(unit)?;
        (rounded > 0 && median.abs_diff(rounded) <= (rounded / 16) as u64).then_some(rounded)
    })?;
    // Times spread around the middle of their cells, so that small jitter stays within one.
    let origin = first.wrapping_sub(step / 2);
    let near = steps.iter().filter(|&&one| one.abs_diff(step) <= (step / 8) as u64).count();
    (near >= steps.len() - steps.len() / 8).then_some((step, origin))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64], encode: fn(&[i64], &mut Vec<u8>)) -> usize {
        let mut bytes = Vec::new();
        encode(values, &mut bytes);
        let mut input = bytes.as_slice();
        assert_eq!(decode(&mut input, values.len()).as_deref(), Some(values));
        assert!(input.is_empty());
        bytes.len()
    }

    #[test]
    fn usual_columns_are_small() {
        let regular: Vec<i64> = (0..360).map(|i| 1_763_870_400_000 + i * 10_000).collect();
        assert!(round_trip(&regular, encode_times) < 20);
        let mut random = fastrand::Rng::with_seed(1);
        let jittered: Vec<i64> = regular.iter().map(|time| time + random.i64(0..20)).collect();
        let size = round_trip(&jittered, encode_times);
        assert!(size < 260, "{size}");
        let gappy: Vec<i64> = jittered.iter().enumerate().filter(|(i, _)| i % 50 != 7).map(|(_, &time)| time).collect();
        let size = round_trip(&gappy, encode_times);
        assert!(size < 290, "{size}");
        assert!(round_trip(&[5; 360], encode) < 5);
        let mut outlier = vec![3i64; 360];
        for (i, value) in outlier.iter_mut().enumerate() {
            *value += (i as i64 * 7) % 8;
        }
        outlier[200] = 1_000_000;
        let size = round_trip(&outlier, encode);
        assert!(size < 260, "{size}");
    }

    proptest! {
        #[test]
        fn any_values_come_back(values in prop::collection::vec(prop_oneof![any::<i64>(), -3i64..3, Just(i64::MIN), Just(i64::MAX)], 1..400)) {
            round_trip(&values, encode);
            round_trip(&values, encode_times);
        }

        #[test]
        fn any_times_come_back(start in any::<i64>(), steps in prop::collection::vec(prop_oneof![9_990i64..10_010, Just(60_000), Just(-5)], 1..300)) {
            let mut time = start;
            let values: Vec<i64> = steps.iter().map(|step| { time = time.wrapping_add(*step); time }).collect();
            round_trip(&values, encode_times);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..500) {
            // pco itself is only ever given bytes whose checksum was right.
            if !bytes.contains(&PCO) {
                let _ = decode(&mut bytes.as_slice(), count);
            }
        }
    }
}
