//! How many units of an item are sold at once: a smallest quantity, and a step above it.

use crate::foundation::error::Error;

/// The quantities that an item is sold in: `min`, `min` + `step`, `min` + 2 × `step`, and so on. The SQL functions `item_sells` and
/// `item_next_quantity` have the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotSize {
    pub min: i32,
    pub step: i32,
}

impl Default for LotSize {
    fn default() -> LotSize {
        LotSize { min: 1, step: 1 }
    }
}

impl LotSize {
    /// The rule of an item's columns: without a smallest quantity, the step is the smallest.
    pub(crate) fn new(min: Option<i32>, step: Option<i32>) -> LotSize {
        LotSize { min: min.or(step).unwrap_or(1).max(1), step: step.unwrap_or(1).max(1) }
    }

    /// Whether this many units are sold at once.
    pub(crate) fn sells(self, quantity: i32) -> bool {
        quantity >= self.min && (quantity - self.min) % self.step == 0
    }

    /// The largest quantity of at most `units` that is sold at once; 0 when none is.
    pub(crate) fn largest(self, units: i32) -> i32 {
        if units < self.min { 0 } else { units - (units - self.min) % self.step }
    }

    /// 422 for another quantity, with the rule; `name` is the beginning of its message.
    pub(crate) fn error(self, name: &str) -> Error {
        let LotSize { min, step } = self;
        let message = match (min, step) {
            (min, 1) => format!("{name} is sold from {min} units."),
            (min, step) if min == step => format!("{name} is sold in multiples of {step} units."),
            (min, step) => format!("{name} is sold from {min} units, in steps of {step}."),
        };
        Error::unprocessable("quantity_not_sold", message).with("minQuantity", min).with("stepQuantity", step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_the_minimum_and_steps_above_it() {
        let sold = |min, step| {
            let lot_size = LotSize::new(min, step);
            (0..13).filter(|quantity| lot_size.sells(*quantity)).collect::<Vec<_>>()
        };
        assert_eq!(sold(None, None), (1..13).collect::<Vec<_>>());
        assert_eq!(sold(Some(10), None), [10, 11, 12]);
        assert_eq!(sold(None, Some(5)), [5, 10]);
        assert_eq!(sold(Some(4), Some(3)), [4, 7, 10]);
        let packs = LotSize::new(Some(4), Some(3));
        assert_eq!([0, 3, 4, 6, 7, 12].map(|units| packs.largest(units)), [0, 0, 4, 4, 7, 10]);
    }
}
