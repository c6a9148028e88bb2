//! Bounds of measures that hold for all regions, so that all measure the same.

use skerry_proto::{Value, wire};

/// Bounds that hold for every region: the hull, measure by measure.
pub(crate) fn hull<'a>(
    quotes: impl IntoIterator<Item = &'a wire::Quote>,
) -> Vec<wire::MeasureFrame> {
    let mut frames: Vec<wire::MeasureFrame> = Vec::new();
    for quote in quotes {
        for (index, measure) in quote.measures.iter().enumerate() {
            let own = frame(measure);
            match frames.get_mut(index) {
                None => frames.push(own),
                Some(frame) => widen(frame, own),
            }
        }
    }
    frames
}

/// The bounds that a measure has.
pub(crate) fn frame(measure: &wire::Measure) -> wire::MeasureFrame {
    wire::MeasureFrame {
        rows: measure.rows,
        ranges: measure
            .factors
            .iter()
            .map(|factor| wire::Interval {
                low: factor.low,
                high: factor.high,
                centre: factor.centre,
            })
            .collect(),
        values: measure.values.clone(),
        total: measure.total,
    }
}

fn widen(frame: &mut wire::MeasureFrame, other: wire::MeasureFrame) {
    frame.rows = frame.rows.max(other.rows);
    for (range, other) in frame.ranges.iter_mut().zip(other.ranges) {
        range.low = range.low.min(other.low);
        range.high = range.high.max(other.high);
        if range.centre != other.centre {
            range.centre = range.low + (range.high - range.low) / 2.0;
        }
    }
    let mut values: Vec<Value> = frame
        .values
        .iter()
        .chain(&other.values)
        .map(Value::from)
        .collect();
    values.sort();
    values.dedup();
    frame.values = values.iter().map(wire::Value::from).collect();
    frame.total = frame.total.max(other.total);
}
