import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The pipeline in Kafka Streams, exactly_once_v2.
 *
 * <p>Choices: the processor API, because labels look at the state of the jobs' learner, which the DSL does not let them; stores in
 * RocksDB with changelogs and without a cache, its default there; JSON by Jackson, packed numbers for coefficients; one thread, and
 * every other setting as it is by default, the commit interval of 100 ms among them.
 */
public final class Pipeline {
  private static final Map<String, Integer> VALUES = Map.of("message", 1, "rejection", 0);
  private static final double LEARNING_RATE = 0.5;
  private static final double EPSILON = 1.0;
  private static final double PRIOR_PULL = 0.01;
  private static final double BOUND = 20.0;
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

  record Application(
      String applicationId,
      String memberId,
      String jobId,
      long appliedAt,
      double[] memberFeatures,
      double[] jobFeatures,
      double globalLogOdds) {}

  record Engagement(String applicationId, String jobId, String kind, long engagedAt) {}

  /** What is kept of an application: whichever of the two has come. */
  record Known(Application application, Engagement engagement) {}

  record Label(
      String applicationId,
      String memberId,
      String jobId,
      int revision,
      Integer value,
      long happenedAt,
      long appliedAt,
      double[] memberFeatures,
      double[] jobFeatures,
      double globalLogOdds,
      double jobLogOdds,
      long jobVersion) {}

  record Score(
      String applicationId,
      String memberId,
      String jobId,
      long appliedAt,
      double globalLogOdds,
      double memberLogOdds,
      double jobLogOdds,
      double logOdds,
      double probability,
      String modelVersion,
      long memberVersion,
      long jobVersion) {}

  record Example(
      String applicationId,
      String jobId,
      int value,
      long happenedAt,
      double[] memberFeatures,
      double globalLogOdds,
      double memberLogOdds) {}

  record Delta(
      String entityKind,
      String entityId,
      long baseVersion,
      long version,
      byte[] change,
      String modelVersion,
      long labels,
      long newestAt) {}

  /** What a member or a job knows; the intercept comes first. */
  record Entity(long version, long newestAt, double[] coefficients, double[] squares) {
    static Entity unknown(int features) {
      return new Entity(0, 0, new double[1 + features], new double[1 + features]);
    }

    double logOdds(double[] features) {
      double sum = coefficients[0];
      for (int i = 0; i < features.length; i++) {
        sum += coefficients[i + 1] * features[i];
      }
      return sum;
    }

    Entity learn(double[] features, double offset, int value, long happenedAt) {
      double error = probability(offset + logOdds(features)) - value;
      double[] w = new double[coefficients.length];
      double[] s = new double[coefficients.length];
      for (int i = 0; i < w.length; i++) {
        double gradient = error * (i == 0 ? 1.0 : features[i - 1]);
        s[i] = squares[i] + gradient * gradient;
        double moved = coefficients[i] - LEARNING_RATE * (gradient + PRIOR_PULL * coefficients[i]) / Math.sqrt(EPSILON + s[i]);
        w[i] = Math.max(-BOUND, Math.min(BOUND, moved));
      }
      return new Entity(version + 1, Math.max(newestAt, happenedAt), w, s);
    }

    Delta since(Entity before, String kind, String id) {
      ByteBuffer change = ByteBuffer.allocate(Double.BYTES * coefficients.length).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < coefficients.length; i++) {
        change.putDouble(coefficients[i] - before.coefficients[i]);
      }
      return new Delta(kind, id, before.version, version, change.array(), "none", version, newestAt);
    }
  }

  private static double probability(double logOdds) {
    return 0.5 + 0.5 * Math.tanh(0.5 * logOdds);
  }

  private static <T> Serde<T> json(Class<T> type) {
    ObjectReader reader = JSON.readerFor(type);
    ObjectWriter writer = JSON.writerFor(type);
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : writer.writeValueAsBytes(value);
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        },
        (topic, bytes) -> {
          try {
            return bytes == null ? null : reader.readValue(bytes);
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        });
  }

  private static Serde<Entity> packed() {
    return Serdes.serdeFrom(
        (topic, entity) -> {
          if (entity == null) {
            return null;
          }
          int dimension = entity.coefficients.length;
          ByteBuffer buffer = ByteBuffer.allocate(2 * Long.BYTES + 2 * dimension * Double.BYTES);
          buffer.putLong(entity.version).putLong(entity.newestAt);
          buffer.asDoubleBuffer().put(entity.coefficients).put(entity.squares);
          return buffer.array();
        },
        (topic, bytes) -> {
          if (bytes == null) {
            return null;
          }
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          double[] w = new double[(bytes.length - 2 * Long.BYTES) / (2 * Double.BYTES)];
          double[] s = new double[w.length];
          long version = buffer.getLong();
          long newestAt = buffer.getLong();
          buffer.asDoubleBuffer().get(w).get(s);
          return new Entity(version, newestAt, w, s);
        });
  }

  /** Takes in an application or an engagement: both look at what is known of the application and of the job. */
  private abstract static class Labels<T> implements Processor<String, T, String, Label> {
    private ProcessorContext<String, Label> context;
    private KeyValueStore<String, Entity> jobs;
    KeyValueStore<String, Known> applications;

    @Override
    public void init(ProcessorContext<String, Label> context) {
      this.context = context;
      this.jobs = context.getStateStore("jobs");
      this.applications = context.getStateStore("known-applications");
    }

    Known known(String applicationId) {
      Known known = applications.get(applicationId);
      return known == null ? new Known(null, null) : known;
    }

    void send(Application application, Engagement engagement, long timestamp) {
      Entity job = jobs.get(application.jobId);
      Label label =
          new Label(
              application.applicationId,
              application.memberId,
              application.jobId,
              engagement == null ? 1 : 2,
              engagement == null ? null : VALUES.get(engagement.kind),
              engagement == null ? application.appliedAt : engagement.engagedAt,
              application.appliedAt,
              application.memberFeatures,
              application.jobFeatures,
              application.globalLogOdds,
              job == null ? 0.0 : job.logOdds(application.memberFeatures),
              job == null ? 0 : job.version);
      context.forward(new Record<>(label.memberId, label, timestamp));
    }
  }

  private static final class Applications extends Labels<Application> {
    @Override
    public void process(Record<String, Application> record) {
      Application application = record.value();
      Known known = known(application.applicationId);
      if (known.application != null) {
        return;
      }
      applications.put(application.applicationId, new Known(application, known.engagement));
      send(application, null, record.timestamp());
      if (known.engagement != null) {
        send(application, known.engagement, record.timestamp());
      }
    }
  }

  private static final class Engagements extends Labels<Engagement> {
    @Override
    public void process(Record<String, Engagement> record) {
      Engagement engagement = record.value();
      Known known = known(engagement.applicationId);
      if (known.engagement != null || !VALUES.containsKey(engagement.kind)) {
        return;
      }
      applications.put(engagement.applicationId, new Known(known.application, engagement));
      if (known.application != null) {
        send(known.application, engagement, record.timestamp());
      }
    }
  }

  private static final class Members implements Processor<String, Label, String, Object> {
    private ProcessorContext<String, Object> context;
    private KeyValueStore<String, Entity> members;

    @Override
    public void init(ProcessorContext<String, Object> context) {
      this.context = context;
      this.members = context.getStateStore("members");
    }

    @Override
    public void process(Record<String, Label> record) {
      Label label = record.value();
      Entity stored = members.get(label.memberId);
      Entity before = stored == null ? Entity.unknown(label.jobFeatures.length) : stored;
      double part = before.logOdds(label.jobFeatures);
      double offset = label.globalLogOdds + label.jobLogOdds;
      if (label.value == null) {
        Score score =
            new Score(
                label.applicationId,
                label.memberId,
                label.jobId,
                label.appliedAt,
                label.globalLogOdds,
                part,
                label.jobLogOdds,
                offset + part,
                probability(offset + part),
                "none",
                before.version,
                label.jobVersion);
        context.forward(new Record<>(label.jobId, score, record.timestamp()), "scores");
        return;
      }
      Entity after = before.learn(label.jobFeatures, offset, label.value, label.happenedAt);
      members.put(label.memberId, after);
      Example example =
          new Example(
              label.applicationId,
              label.jobId,
              label.value,
              label.happenedAt,
              label.memberFeatures,
              label.globalLogOdds,
              part);
      context.forward(new Record<>(label.jobId, example, record.timestamp()), "examples");
      Delta delta = after.since(before, "member", label.memberId);
      context.forward(new Record<>("member:" + label.memberId, delta, record.timestamp()), "coefficients-of-members");
    }
  }

  private static final class Jobs implements Processor<String, Example, String, Delta> {
    private ProcessorContext<String, Delta> context;
    private KeyValueStore<String, Entity> jobs;

    @Override
    public void init(ProcessorContext<String, Delta> context) {
      this.context = context;
      this.jobs = context.getStateStore("jobs");
    }

    @Override
    public void process(Record<String, Example> record) {
      Example example = record.value();
      Entity stored = jobs.get(example.jobId);
      Entity before = stored == null ? Entity.unknown(example.memberFeatures.length) : stored;
      double offset = example.globalLogOdds + example.memberLogOdds;
      Entity after = before.learn(example.memberFeatures, offset, example.value, example.happenedAt);
      jobs.put(example.jobId, after);
      Delta delta = after.since(before, "job", example.jobId);
      context.forward(new Record<>("job:" + example.jobId, delta, record.timestamp()));
    }
  }

  private static <T> StoreBuilder<KeyValueStore<String, T>> store(String name, Serde<T> serde) {
    return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), Serdes.String(), serde);
  }

  private static Topology topology(String prefix) {
    Deserializer<String> key = Serdes.String().deserializer();
    Serde<Label> label = json(Label.class);
    Serde<Example> example = json(Example.class);
    Topology topology = new Topology();
    topology
        .addSource("read-applications", key, json(Application.class).deserializer(), prefix + "applications")
        .addSource("read-engagements", key, json(Engagement.class).deserializer(), prefix + "engagements")
        .addSource("read-labels", key, label.deserializer(), prefix + "labels")
        .addSource("read-examples", key, example.deserializer(), prefix + "examples")
        .addProcessor("label-applications", Applications::new, "read-applications")
        .addProcessor("label-engagements", Engagements::new, "read-engagements")
        .addProcessor("learn-members", Members::new, "read-labels")
        .addProcessor("learn-jobs", Jobs::new, "read-examples")
        .addStateStore(store("known-applications", json(Known.class)), "label-applications", "label-engagements")
        .addStateStore(store("jobs", packed()), "label-applications", "label-engagements", "learn-jobs")
        .addStateStore(store("members", packed()), "learn-members");
    var text = Serdes.String().serializer();
    topology
        .addSink("labels", prefix + "labels", text, label.serializer(), "label-applications", "label-engagements")
        .addSink("scores", prefix + "scores", text, json(Score.class).serializer(), "learn-members")
        .addSink("examples", prefix + "examples", text, example.serializer(), "learn-members")
        .addSink("coefficients-of-members", prefix + "coefficients", text, json(Delta.class).serializer(), "learn-members")
        .addSink("coefficients-of-jobs", prefix + "coefficients", text, json(Delta.class).serializer(), "learn-jobs");
    return topology;
  }

  public static void main(String[] arguments) {
    Map<String, String> environment = System.getenv();
    String prefix = environment.get("PEERS_PREFIX");
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "group");
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment.get("PEERS_BROKER"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, environment.get("PEERS_DIRECTORY"));
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    KafkaStreams streams = new KafkaStreams(topology(prefix), settings);
    streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
    streams.setStateListener(
        (state, before) -> {
          if (state == KafkaStreams.State.ERROR) {
            Runtime.getRuntime().halt(1);
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }
}
