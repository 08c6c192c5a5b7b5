//! Maps in pixels, for terminals that draw pictures.

use std::num::NonZeroU16;

use pythia_tui::paint::{Picture, Target};
use ratatui::{buffer::Buffer, style::Color};

use super::*;

/// A theme of a terminal that draws pictures.
fn drawing(depth: ColorDepth, light: bool) -> Theme {
    let pixels = NonZeroU16::new(9).zip(NonZeroU16::new(18));
    Theme { depth, ascii: false, light, pixels }
}

/// The attention of `n` tokens as drawn: the screen, and its pictures.
fn frame(program: &Program, theme: Theme) -> (Buffer, Vec<Region>) {
    let (width, height) = program.state.scene.layout.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut regions = vec![];
    terminal.draw(|frame| regions = draw(frame, &program.state, theme)).unwrap();
    (terminal.backend().buffer().clone(), regions)
}

fn attention_of(n: usize, size: (u16, u16), keys: &str) -> Program {
    let dims = Program::start(SMALL, &[]).state.scene.schema.dims;
    let mut program = Program::with(dims, (0..n).map(|i| format!(" t{i}")).collect(), size, &[]);
    program.find("1 pattern");
    program.keys(keys);
    program
}

fn pictures(regions: &[Region]) -> Vec<&Picture> {
    regions.iter().filter_map(Region::as_picture).collect()
}

#[test]
fn a_picture_has_the_colours_of_the_half_blocks() {
    for (depth, light, keys) in [
        (ColorDepth::True, false, "3"),
        (ColorDepth::True, true, "3 s"),
        (ColorDepth::Ansi256, false, "3"),
        (ColorDepth::Ansi256, true, "3 s"),
    ] {
        let program = attention_of(66, (150, 50), keys);
        let (_, regions) = frame(&program, drawing(depth, light));
        let [picture] = pictures(&regions)[..] else { panic!("{keys} {regions:?}") };
        assert_eq!((picture.columns, picture.colours.len()), (66, 66 * 66));
        assert!(picture.across >= 1 && picture.down >= 1);
        let halves = Theme { pixels: None, ..drawing(depth, light) };
        let (buffer, regions) = frame(&program, halves);
        assert!(pictures(&regions).is_empty());
        let rgb = |color: Color| match color {
            Color::Rgb(r, g, b) => Some([r, g, b]),
            Color::Indexed(n @ 16..232) => {
                Some([(n - 16) / 36, (n - 16) / 6 % 6, (n - 16) % 6].map(|x| if x == 0 { 0 } else { 55 + 40 * x }))
            }
            Color::Indexed(n @ 232..) => Some([8 + 10 * (n - 232); 3]),
            _ => None,
        };
        let mut compared = 0;
        for (x, y) in (0..150).flat_map(|x| (0..50).map(move |y| (x, y))) {
            let Some(Target::Place((row, column))) = regions.iter().find_map(|region| region.at(x, y)) else {
                continue;
            };
            let cell = &buffer[(x, y)];
            // not the cursor, and whole cells of two values
            if cell.symbol() == "▀" && row + 1 < 66 && column < row {
                assert_eq!(picture.colours[row * 66 + column], rgb(cell.fg), "{keys} {row} {column}");
                assert_eq!(picture.colours[(row + 1) * 66 + column], rgb(cell.bg), "{keys} {row} {column}");
                compared += 1;
            }
        }
        assert!(compared > 800, "{compared}");
    }
}

#[test]
fn a_picture_is_drawn_for_more_than_64_tokens_and_without_a_dialog() {
    let theme = drawing(ColorDepth::True, false);
    let count = |program: &Program, theme| pictures(&frame(program, theme).1).len();
    assert_eq!(count(&attention_of(64, SMALL, "3"), theme), 0);
    assert_eq!(count(&attention_of(65, SMALL, "3"), theme), 1);
    assert_eq!(count(&attention_of(65, SMALL, "2 m"), theme), 1);
    assert_eq!(count(&attention_of(65, SMALL, "3 ?"), theme), 0, "a dialog");
    assert_eq!(count(&attention_of(65, SMALL, "3 Tab Enter"), theme), 0, "zoomed, cells are large");
    assert_eq!(count(&attention_of(65, SMALL, "4"), theme), 0);
    assert_eq!(count(&attention_of(65, SMALL, "3"), Theme { ascii: true, ..theme }), 0);
    assert_eq!(count(&attention_of(65, SMALL, "3"), Theme { depth: ColorDepth::Ansi16, ..theme }), 0);
    assert_eq!(count(&attention_of(65, (250, 70), "2"), theme), 1, "in the view beside the main one");
}

#[test]
fn pictures_stay_inside_their_panel_whatever_the_size_and_clicks_find_their_values() {
    let theme = drawing(ColorDepth::True, false);
    for (n, width, height) in
        [(65, 1, 1), (65, 12, 6), (300, 61, 12), (90, 80, 24), (130, 120, 36), (300, 160, 45), (77, 250, 70)]
    {
        let mut program = attention_of(n, (width, height), "3 Tab");
        let (buffer, regions) = frame(&program, theme);
        let view = program.state.scene.layout.areas().view;
        for picture in pictures(&regions) {
            assert_eq!(picture.area, picture.area.intersection(view), "{n} {width} {height}");
            // the cursor is the only text in it
            let text = picture.area.positions().filter(|place| buffer[*place].symbol() != " ").count();
            assert!(text <= 1, "{n} {width} {height}");
        }
        if width >= 80 {
            let area = pictures(&regions)[0].area;
            let place = (area.x + area.width / 5, area.y + area.height / 2);
            let target = regions.iter().find_map(|region| region.at(place.0, place.1));
            let Some(Target::Place((row, column))) = target else { panic!("{target:?}") };
            let mouse = MouseEvent {
                kind: MouseEventKind::Down(MouseButton::Left),
                column: place.0,
                row: place.1,
                modifiers: KeyModifiers::NONE,
            };
            program.event(Event::Mouse(mouse, target));
            assert_eq!((program.state.scene.cursor.pos, program.state.scene.cursor.key), (row, column));
            assert_eq!(frame(&program, theme).0[place].symbol(), "◆", "{n} {width} {height}");
        }
    }
}

#[test]
fn a_small_map_of_the_whole_stands_beside_a_zoomed_part_and_a_click_goes_there() {
    let mut program = attention_of(150, WIDE, "3 Tab Enter");
    let (_, regions) = frame(&program, TRUE);
    let screen = program.screen(TRUE);
    assert!(screen.contains('┌') && screen.contains('┘'), "{screen}");
    // where the map begins
    let x = program.state.scene.layout.areas().view.right() - 1 - 24;
    let at = |y| regions.iter().find_map(|region| region.at(x, y));
    let y = (0..45).find(|y| at(*y) == Some(Target::Place((0, 0)))).unwrap();
    assert!(matches!(at(y + 11), None | Some(Target::Place((130.., 0)))) && at(y + 12).is_none());
    program.click((x, y));
    assert_eq!((program.state.scene.cursor.pos, program.state.scene.cursor.key), (0, 0));
    let marks = program.screen(TRUE);
    assert!(marks.contains("rows 0-"), "{marks}");
    let none = |size, keys: &str| {
        let screen = attention_of(150, size, keys).screen(TRUE);
        assert!(!screen.split("---").next().unwrap().contains('┌'), "{screen}");
    };
    none(WIDE, "3 Tab");
    none(SMALL, "3 Tab Enter");
}
