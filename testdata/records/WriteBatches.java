// Writes java-*.bin with Kafka's own record classes, or reads files with them (`read FILE...`):
//   java -cp "$KAFKA/*" WriteBatches.java write
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

public class WriteBatches {
  static byte[] b(String s) { return s == null ? null : s.getBytes(java.nio.charset.StandardCharsets.UTF_8); }
  static List<SimpleRecord> recs() {
    List<SimpleRecord> l = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      l.add(new SimpleRecord(1700000000000L + i, b("customer-" + i),
        b("{\"id\":" + i + ",\"email\":\"person" + i + "@example.org\",\"card\":\"4111111111111111\",\"note\":\"" + "x".repeat(i * 60) + "\"}"),
        new Header[]{ new RecordHeader("trace", b("t" + i)), new RecordHeader("trace", b("second")), new RecordHeader("none", (byte[]) null) }));
    }
    l.add(new SimpleRecord(1700000000100L, null, b("")));
    l.add(new SimpleRecord(1700000000101L, b(""), null));
    return l;
  }
  static void write(String name, ByteBuffer buf) throws Exception {
    byte[] out = new byte[buf.remaining()]; buf.duplicate().get(out); Files.write(Path.of(name), out);
  }
  public static void main(String[] a) throws Exception {
    if (a[0].equals("write")) {
      Map<String, Compression> m = new LinkedHashMap<>();
      m.put("none", Compression.NONE); m.put("gzip", Compression.gzip().build()); m.put("snappy", Compression.snappy().build());
      m.put("lz4", Compression.lz4().build()); m.put("zstd", Compression.zstd().build());
      for (var e : m.entrySet()) {
        ByteBuffer buf = ByteBuffer.allocate(1 << 20);
        MemoryRecordsBuilder mb = MemoryRecords.builder(buf, RecordBatch.CURRENT_MAGIC_VALUE, e.getValue(), TimestampType.CREATE_TIME, 0L, -1L, 4711L, (short) 3, 17, false, -1);
        for (SimpleRecord r : recs()) mb.append(r);
        write("java-" + e.getKey() + ".bin", mb.build().buffer());
      }
      ByteBuffer buf = ByteBuffer.allocate(1 << 16);
      MemoryRecordsBuilder mb = MemoryRecords.builder(buf, RecordBatch.CURRENT_MAGIC_VALUE, Compression.zstd().build(), TimestampType.LOG_APPEND_TIME, 5000L, 1700000009999L, 9L, (short) 2, 41, true, 6);
      for (SimpleRecord r : recs()) mb.append(r);
      write("java-stored.bin", mb.build().buffer());
      ByteBuffer empty = ByteBuffer.allocate(61);
      DefaultRecordBatch.writeEmptyHeader(empty, (byte) 2, 9L, (short) 2, 41, 5000L, 5041L, 6, TimestampType.LOG_APPEND_TIME, 1700000009999L, true, false);
      empty.flip(); write("java-stored-emptied.bin", empty);
      MemoryRecords marker = MemoryRecords.withEndTransactionMarker(5042L, 1700000010000L, 6, 9L, (short) 2, new EndTransactionMarker(ControlRecordType.COMMIT, 13));
      write("java-marker.bin", marker.buffer());
    } else {
      for (String f : Arrays.copyOfRange(a, 1, a.length)) {
        MemoryRecords r = MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(Path.of(f))));
        StringBuilder s = new StringBuilder(); int n = 0; long h = 7;
        for (MutableRecordBatch batch : r.batches()) {
          batch.ensureValid();
          s.append(batch.compressionType()).append(" base=").append(batch.baseOffset()).append(" last=").append(batch.lastOffset()).append(" count=").append(batch.countOrNull()).append(" ctl=").append(batch.isControlBatch());
          for (org.apache.kafka.common.record.internal.Record rec : batch) { rec.ensureValid(); n++; h = h * 31 + rec.offset();
            h = h * 31 + (rec.hasKey() ? rec.key().hashCode() : 1); h = h * 31 + (rec.hasValue() ? rec.value().hashCode() : 1);
            for (Header x : rec.headers()) h = h * 31 + x.key().hashCode() + Arrays.hashCode(x.value()); }
          s.append("; ");
        }
        System.out.println(f + ": " + s + n + " records, hash " + h + ", valid bytes " + r.validBytes());
      }
    }
  }
}
