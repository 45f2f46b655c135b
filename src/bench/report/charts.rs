//! Charts: curves as SVG.
//!
//! Knows: plotters, colours. Never learns what the curves are about.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Width and height, in the SVG's own units; the page scales it.
const SIZE: (u32, u32) = (720, 360);

/// Colours that differ in hue and lightness, so that they can be told apart in grey, too.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x1f, 0x5f, 0xa8),
    RGBColor(0xd9, 0x6b, 0x0b),
    RGBColor(0x2a, 0x8f, 0x5a),
    RGBColor(0x8e, 0x3b, 0x9c),
    RGBColor(0x9a, 0x2c, 0x2c),
];

/// Size of the letters, in the same units.
const LETTER: u32 = 16;

const INK: RGBColor = RGBColor(0x3c, 0x43, 0x4d);
const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xec);

/// One curve.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether what is under it is tinted: amounts, not latencies.
    pub(super) filled: bool,
}

/// What stands at the axes.
pub(super) struct Axes {
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) x_label: fn(f64) -> String,
    pub(super) y_label: fn(f64) -> String,
    /// Whether ten times as much is as far everywhere.
    pub(super) logarithmic: bool,
}

/// A chart, or nothing if there is nothing to show.
pub(super) fn chart(axes: &Axes, curves: &[Curve]) -> Option<String> {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    if all().count() < 2 {
        return None;
    }
    let x_max = all().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    let y_max = all().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = String::new();
    let drawn = if axes.logarithmic {
        let least = all().map(|point| point.1).filter(|y| *y > 0.0).fold(y_max, f64::min);
        let (from, to) = (10_f64.powf(least.log10().floor()), 10_f64.powf(y_max.log10().ceil()));
        draw(&mut svg, axes, curves, x_max, (from..to.max(from * 10.0)).log_scale())
    } else {
        let from = all().map(|point| point.1).fold(y_max, f64::min);
        // An amount begins at nothing, unless all of it lies far above.
        let from =
            if from > y_max * 0.7 && !curves.iter().any(|curve| curve.filled) { from * 0.98 } else { 0.0 };
        draw(&mut svg, axes, curves, x_max, from..y_max * 1.08)
    };
    // Writing into a string cannot fail; a range that plotters cannot show leaves out the chart.
    drawn.ok().map(|()| svg)
}

fn draw<Y>(
    svg: &mut String,
    axes: &Axes,
    curves: &[Curve],
    x_max: f64,
    y: Y,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let floor = if axes.logarithmic { f64::MIN_POSITIVE } else { 0.0 };
    // Shares are read at whole nines.
    let x_labels = if axes.logarithmic { x_max as usize + 2 } else { 7 };
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(54)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..x_max, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK.mix(0.4))
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(x_labels)
        .y_labels(6)
        .x_label_formatter(&|x| (axes.x_label)(*x))
        .y_label_formatter(&|y| (axes.y_label)(*y))
        .label_style(("sans-serif", LETTER, &INK))
        .axis_desc_style(("sans-serif", LETTER, &INK))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        if curve.filled {
            let area = AreaSeries::new(curve.points.iter().copied(), floor, colour.mix(0.12));
            chart.draw_series(area)?;
        }
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    if curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(("sans-serif", LETTER, &INK))
            .draw()?;
    }
    root.present()?;
    Ok(())
}
