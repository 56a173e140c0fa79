//! Percentiles by nearest rank: always a value that was measured, never one between two.

/// The smallest value that at least `percent` of all values do not exceed; none of no values.
pub fn percentile(values: &[i64], percent: usize) -> Option<i64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rank_is_a_measured_value() {
        let twenty: Vec<i64> = (1..=20).rev().map(|n| n * 10).collect();
        assert_eq!(percentile(&twenty, 50), Some(100));
        assert_eq!(percentile(&twenty, 95), Some(190));
        assert_eq!(percentile(&twenty, 100), Some(200));
    }

    #[test]
    fn few_values_have_percentiles_too() {
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[7, 9, 8], 95), Some(9));
        assert_eq!(percentile(&[7, 9, 8], 0), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }
}
