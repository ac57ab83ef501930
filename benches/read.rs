//! Reading 100-byte records back in batches from the maps of segments, bodies not copied.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use towpath::{AppendOptions, Level, Options, Record, Start, StreamOptions};

const RECORDS: u64 = 500_000;

fn read(criterion: &mut Criterion) {
    let database = Options::new().open_temporary().expect("a temporary database opens");
    let stream = database.create_stream("orders", StreamOptions::new()).expect("creates");
    let buffered = AppendOptions::new().level(Level::Buffered);
    for _ in 0..RECORDS {
        stream.append_with(Record::new(&[b'x'; 100]), &buffered).expect("appends");
    }
    database.checkpoint().expect("checkpoints");
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(RECORDS));
    group.sample_size(10);
    group.bench_function("batches of 1,000", |b| {
        b.iter(|| {
            let mut reader = stream.reader(0, Start::Earliest).expect("opens");
            let mut bytes = 0;
            while let Some(records) = reader.try_receive(1000).expect("reads") {
                bytes += records.iter().map(|record| record.body().len()).sum::<usize>();
            }
            assert_eq!(bytes as u64, RECORDS * 100);
        });
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
