//! The table that `make bench` prints: what, figure, goal.

/// Rows in order of measurement.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row: what was measured, the figure, the goal, and whether it was reached (`None`: no goal).
    pub fn row(&mut self, what: &str, figure: String, goal: &str, reached: Option<bool>) {
        let verdict = match reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        eprintln!("   {what}: {figure} (goal {goal}) {verdict}");
        self.rows.push([what.to_owned(), figure, goal.to_owned(), verdict.to_owned()]);
    }

    /// Prints it as Markdown, with the machine.
    pub fn print(&self) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or(": unknown")
            .trim_start_matches(['\t', ' ', ':'])
            .to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("{cpu}, {cores} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim());
        println!();
        println!("| what | measured | goal | |");
        println!("|---|---|---|---|");
        for [what, figure, goal, verdict] in &self.rows {
            println!("| {what} | {figure} | {goal} | {verdict} |");
        }
    }
}
