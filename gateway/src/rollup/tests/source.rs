//! What is kept of how registers come about, and what is noticed of a change.

use parkgate_collector::catalogue::{Formula, Operation, Point, PointSource};
use parkgate_collector::model::{Decimal, Kind, Unit};
use parkgate_collector::normalise::register_source;
use parkgate_collector::protocol::modbus::{ByteOrder, Function, RegisterSource, RegisterType};

use super::super::source::{self, Changed};
use super::memory::catalogue;
use super::point;
use crate::store::Facts;

fn register(address: u16) -> RegisterSource {
    RegisterSource {
        function: Function::HoldingRegisters,
        address,
        register_type: RegisterType::U32,
        order: ByteOrder { permutation: [2, 3, 0, 1, 0, 0, 0, 0], length: 4 },
        not_available: Vec::new(),
        scale_register: None,
        codes: Vec::new(),
    }
}

fn read(source: RegisterSource) -> Point {
    Point { source: PointSource::Modbus(source), ..point(Kind::Counter, None) }
}

fn text_of(point: &Point) -> String {
    register_source(&catalogue(vec![point.clone()]), point)
}

/// The texts are in files of data directories: a program that wrote others would find every counter changed.
#[test]
fn texts_stay_as_they_are() {
    let formula = Formula { operation: Operation::Sum, inputs: vec!["a/c".into(), "a/d".into()], max_age_ms: 1 };
    for (point, text) in [
        (point(Kind::Counter, None), "mqtt scale 1 offset 0 raw_unit kWh"),
        (read(register(72)), "function 3 address 72 type U32 order CDAB scale 1 offset 0 raw_unit kWh"),
        (
            Point {
                scale: Decimal::new(100, -3),
                offset: Decimal::new(-5, 0),
                ..read(RegisterSource { scale_register: Some(9), ..register(0) })
            },
            "function 3 address 0 type U32 order CDAB scale_register 9 scale 0.1 offset -5 raw_unit kWh",
        ),
        (
            read(RegisterSource { register_type: RegisterType::Mod10(3), order: ByteOrder::low_first(6), ..register(0) }),
            "function 3 address 0 type Mod10(3) order EFCDAB scale 1 offset 0 raw_unit kWh",
        ),
        (Point { source: PointSource::Formula(formula), ..point(Kind::Counter, None) }, "Sum of a/c, a/d scale 1 offset 0 raw_unit kWh"),
    ] {
        assert_eq!(text_of(&point), text);
    }
}

#[test]
fn what_changed_is_noticed_once() {
    let facts = Facts::open(std::path::Path::new(":memory:")).unwrap();
    let now = |point: Point| source::changed(&facts, &catalogue(vec![point])).unwrap();
    let keep = |point: Point| source::keep(&facts, &catalogue(vec![point])).unwrap();
    let first = || read(register(72));
    assert_eq!(now(first()), [], "new");
    keep(first());
    assert_eq!(now(first()), []);
    let was = || text_of(&first());
    for other in [
        Point { scale: Decimal::new(1, 1), ..first() },
        Point { offset: Decimal::new(1, 0), ..first() },
        Point { raw_unit: Unit::parse("MWh").unwrap(), ..first() },
        read(register(74)),
    ] {
        let expected = Changed { point: other.id, name: "a/b".into(), was: was(), is: text_of(&other) };
        assert_eq!(now(other.clone()), [expected]);
        keep(other.clone());
        assert_eq!(now(other), []);
        keep(first());
    }
    // Other keys of the point change nothing, nor does the same number written otherwise, nor what is no counter.
    assert_eq!(now(Point { modulus: None, scale: Decimal::new(10, -1), ..first() }), []);
    let gauge = || point(Kind::Gauge, None);
    keep(gauge());
    assert_eq!(now(Point { scale: Decimal::new(1, 1), ..gauge() }), []);
    // One that was not configured meanwhile is known still.
    source::keep(&facts, &catalogue(Vec::new())).unwrap();
    assert_eq!(now(read(register(74))).len(), 1);
}
