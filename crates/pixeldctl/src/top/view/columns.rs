use ratatui::{
    layout::{Alignment, Constraint},
    text::{Line, Span},
    widgets::{Cell, Row, Table},
};

/// A column of a table that omits columns which do not fit.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    width: u16,
    alignment: Alignment,
    /// The column with the highest rank is omitted first.
    rank: u8,
}

impl Column {
    pub const fn text(title: &'static str, width: u16, rank: u8) -> Self {
        Self { title, width, alignment: Alignment::Left, rank }
    }

    /// Returns a right-aligned column.
    pub const fn number(title: &'static str, width: u16, rank: u8) -> Self {
        Self { title, width, alignment: Alignment::Right, rank }
    }
}

/// Returns the columns that fit into a width; at least one.
pub fn fitting(columns: &[Column], width: u16) -> Vec<usize> {
    let mut kept: Vec<_> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| kept.iter().map(|column| columns[*column].width + 1).sum::<u16>();
    while kept.len() > 1 && needed(&kept) > width.saturating_add(1) {
        let Some(last) = (0..kept.len()).max_by_key(|place| columns[kept[*place]].rank) else { break };
        kept.remove(last);
    }
    kept
}

/// Returns a table of the columns that fit; each row is `height` lines high.
pub fn table<'a>(
    columns: &[Column],
    width: u16,
    rows: impl IntoIterator<Item = Vec<Span<'a>>>,
    height: u16,
    header: ratatui::style::Style,
) -> Table<'a> {
    let kept = fitting(columns, width);
    let cell =
        |column: usize, span: Span<'a>| Cell::from(Line::from(span).alignment(columns[column].alignment));
    let titles = kept.iter().map(|column| cell(*column, columns[*column].title.into()));
    let header = Row::new(titles.collect::<Vec<_>>()).style(header);
    let rows = rows.into_iter().map(|cells| {
        let cells = cells.into_iter().enumerate().filter(|(column, _)| kept.contains(column));
        Row::new(cells.map(|(column, span)| cell(column, span)).collect::<Vec<_>>()).height(height)
    });
    let widths = kept.iter().map(|column| Constraint::Length(columns[*column].width));
    Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>()).header(header).column_spacing(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_important_column_is_dropped_first() {
        let columns = [Column::text("A", 4, 0), Column::text("B", 4, 2), Column::text("C", 4, 1)];
        let widths = [14, 13, 9, 8, 4, 0];
        let kept = widths.map(|width| fitting(&columns, width).len());
        assert_eq!(kept, [3, 2, 2, 1, 1, 1]);
        assert_eq!(fitting(&columns, 9), [0, 2]);
    }
}
