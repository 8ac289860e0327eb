//! Read Device Identification, function 43 with MEI type 14: who made a unit. Source: Modbus Application Protocol
//! V1.1b3, 6.21. Only the basic category is asked for: maker, product code, revision.

/// Function code of the encapsulated interface transport.
pub const FUNCTION: u8 = 0x2B;
/// MEI type of Read Device Identification.
const MEI_TYPE: u8 = 0x0E;
/// Read Device ID code: basic identification, stream access.
const BASIC: u8 = 0x01;
/// Bytes in front of the objects: function, MEI type, code, conformity level, more follows, next object, count.
const HEAD: usize = 7;
/// More Follows: there are further objects.
const MORE: u8 = 0xFF;

/// The PDU that asks for the basic objects from `object` on.
pub const fn request(object: u8) -> [u8; 4] {
    [FUNCTION, MEI_TYPE, BASIC, object]
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Object ids with their texts, without what cannot be printed.
    pub objects: Vec<(u8, String)>,
    /// The object to go on from, where there are more.
    pub next: Option<u8>,
}

/// Bytes of the PDU that begins with `pdu`; `None` as long as what has come does not say it.
pub fn length(pdu: &[u8]) -> Option<usize> {
    let count = *pdu.get(HEAD.checked_sub(1)?)?;
    let mut length = HEAD;
    for _ in 0..count {
        let size = *pdu.get(length.checked_add(1)?)?;
        length = length.checked_add(2)?.checked_add(usize::from(size))?;
    }
    Some(length)
}

/// What a whole PDU says; `None` where it is no such answer.
pub fn parse(pdu: &[u8]) -> Option<Page> {
    let (&[function, mei, _, _, more, next, count], mut rest) = pdu.split_first_chunk::<HEAD>()?;
    if function != FUNCTION || mei != MEI_TYPE {
        return None;
    }
    let mut objects = Vec::new();
    for _ in 0..count {
        let (&[id, size], behind) = rest.split_first_chunk::<2>()?;
        let (text, behind) = behind.split_at_checked(size.into())?;
        objects.push((id, printable(text)));
        rest = behind;
    }
    // A device that says "more" and names an object it has already given would be asked for ever.
    let next = Some(next).filter(|next| more == MORE && objects.iter().all(|(id, _)| id < next));
    Some(Page { objects, next })
}

fn printable(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(more: u8, next: u8, objects: &[(u8, &str)]) -> Vec<u8> {
        let mut pdu = vec![0x2B, 0x0E, 1, 1, more, next, u8::try_from(objects.len()).unwrap()];
        for (id, text) in objects {
            pdu.extend([*id, u8::try_from(text.len()).unwrap()]);
            pdu.extend(text.as_bytes());
        }
        pdu
    }

    #[test]
    fn objects_are_read() {
        // The example of the standard, 6.21.
        let pdu = answer(0, 0, &[(0, "Company identification"), (1, "Product code XX"), (2, "V2.11")]);
        let page = parse(&pdu).unwrap();
        assert_eq!(page.objects[1], (1, "Product code XX".to_owned()));
        assert_eq!((page.objects.len(), page.next), (3, None));
        assert_eq!(length(&pdu), Some(pdu.len()));
        for short in 0..pdu.len() {
            assert_eq!(parse(&pdu[..short]), None, "{short}");
            assert!(length(&pdu[..short]).is_none_or(|length| length == pdu.len()), "{short}");
        }
        assert_eq!(parse(&answer(0xFF, 2, &[(0, "a\0"), (1, " b ")])).unwrap().next, Some(2));
        assert_eq!(parse(&answer(0xFF, 1, &[(0, "a"), (1, "b")])).unwrap().next, None, "it would go round for ever");
        assert_eq!(parse(&answer(0xFF, 2, &[(0, "a\0"), (1, " b ")])).unwrap().objects, [(0, "a".to_owned()), (1, "b".to_owned())]);
        assert_eq!(parse(&[0x2B, 0x0D, 1, 1, 0, 0, 0]), None);
        assert_eq!(parse(&[0xAB, 1]), None);
    }
}
