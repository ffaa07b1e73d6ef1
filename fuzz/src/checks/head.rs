use pixeld::{
    config::Settings,
    http::{
        Policy,
        request_head::{HeadParser, Parsed, skip_empty_lines},
    },
};

/// A head is judged the same in one piece and byte by byte, and then no byte is looked at again but a CR.
///
/// The first byte of the input is for the limit; the rest is the head and what is behind it.
pub fn head(input: &[u8]) {
    let Some((flags, input)) = input.split_first() else { return };
    let input = &input[skip_empty_lines(input)..];
    // No limit is so low that a CR alone exceeds it.
    let policy = policy((usize::from(*flags) * 8).max(8));
    let whole = HeadParser::default().parse(input, &policy, flags & 1 != 0);
    let mut parser = HeadParser::default();
    let mut in_pieces = Parsed::Incomplete;
    for end in 1..=input.len() {
        in_pieces = parser.parse(&input[..end], &policy, flags & 1 != 0);
        if in_pieces != Parsed::Incomplete {
            break;
        }
        assert!(parser.searched() + 1 >= end, "of {end} bytes, {} were searched", parser.searched());
    }
    assert_eq!(in_pieces, whole, "byte by byte (left) and in one piece (right)");
    if let Parsed::Complete(head) = whole {
        assert!(head.length <= input.len().min(policy.head_limit));
        assert!(input[..head.length].ends_with(b"\n"));
        let for_hyper = head.for_hyper();
        let again = HeadParser::default().parse(&for_hyper, &policy, false);
        let Parsed::Complete(again) = again else {
            assert!(for_hyper.len() > policy.head_limit);
            return;
        };
        assert_eq!((again.framing, again.length), (head.framing, for_hyper.len()));
    }
}

fn policy(head_limit: usize) -> Policy {
    Policy { body_limit: 1 << 10, head_limit, ..(&Settings::default()).into() }
}
