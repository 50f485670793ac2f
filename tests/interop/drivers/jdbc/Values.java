import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Struct;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.Period;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.arrow.driver.jdbc.shaded.com.fasterxml.jackson.databind.JsonNode;

/** Values in the form of ../README.md. The time zone of the JVM is UTC. */
final class Values {
    private static final DateTimeFormatter MOMENT = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss");
    private static final DateTimeFormatter CLOCK = DateTimeFormatter.ofPattern("HH:mm:ss");
    private static final Set<String> ENTRY = Set.of("key", "value");

    private Values() {}

    static Object of(ResultSet rows, int column) throws SQLException {
        return tagged(rows.getObject(column));
    }

    private static Object tagged(Object value) throws SQLException {
        if (value == null || value instanceof Boolean || value instanceof String || value instanceof Long
                || value instanceof Integer || value instanceof Short || value instanceof Byte) {
            return value;
        }
        if (value instanceof Float || value instanceof Double) {
            double number = ((Number) value).doubleValue();
            return Double.isFinite(number) ? value : Map.of("$double", Double.toString(number));
        }
        if (value instanceof BigDecimal number) {
            return Map.of("$decimal", number.toPlainString());
        }
        if (value instanceof byte[] data) {
            return Map.of("$bytes", HexFormat.of().formatHex(data));
        }
        if (value instanceof Array array) {
            return list(Arrays.asList((Object[]) array.getArray()));
        }
        if (value instanceof Struct struct) {
            return list(Arrays.asList(struct.getAttributes()));
        }
        if (value instanceof Object[] items) {
            return list(Arrays.asList(items));
        }
        if (value instanceof List<?> items) {
            return list(items);
        }
        if (value instanceof Map<?, ?> fields) {
            return object(fields);
        }
        return ofTime(value);
    }

    private static Object ofTime(Object value) {
        if (value instanceof Timestamp time) {
            return moment(time.toLocalDateTime());
        }
        if (value instanceof LocalDateTime time) {
            return moment(time);
        }
        if (value instanceof Instant time) {
            return moment(LocalDateTime.ofInstant(time, ZoneOffset.UTC));
        }
        if (value instanceof Date date) {
            return Map.of("$date", date.toLocalDate().toString());
        }
        if (value instanceof LocalDate date) {
            return Map.of("$date", date.toString());
        }
        if (value instanceof Time time) {
            // It has milliseconds, although its own text does not show them.
            int ns = (int) Math.floorMod(time.getTime(), 1000L) * 1_000_000;
            return clock(time.toLocalTime().withNano(ns));
        }
        if (value instanceof LocalTime time) {
            return clock(time);
        }
        if (value instanceof Duration duration) {
            return Map.of("$duration", duration.toNanos());
        }
        if (value instanceof Period period) {
            return Map.of("$interval", List.of(period.toTotalMonths(), period.getDays(), 0));
        }
        // What has a text of its own, such as the text class of Arrow.
        return value.toString();
    }

    private static Map<String, Object> moment(LocalDateTime time) {
        return Map.of("$timestamp", MOMENT.format(time) + fraction(time.getNano()));
    }

    private static Map<String, Object> clock(LocalTime time) {
        return Map.of("$time", CLOCK.format(time) + fraction(time.getNano()));
    }

    private static String fraction(int ns) {
        return ns == 0 ? "" : ("." + String.format("%09d", ns)).replaceAll("0+$", "");
    }

    private static Object list(List<?> items) throws SQLException {
        if (!items.isEmpty() && items.stream().allMatch(Values::isEntry)) {
            return ofEntries(items);
        }
        var found = new ArrayList<Object>();
        for (Object item : items) {
            found.add(tagged(item));
        }
        return found;
    }

    /** A map inside of a list comes as the list of its entries. */
    private static boolean isEntry(Object item) {
        return item instanceof Map<?, ?> entry && entry.keySet().equals(ENTRY);
    }

    private static Object ofEntries(List<?> entries) throws SQLException {
        var found = new LinkedHashMap<String, Object>();
        for (Object each : entries) {
            Map<?, ?> entry = (Map<?, ?>) each;
            found.put(entry.get("key").toString(), tagged(entry.get("value")));
        }
        return found;
    }

    private static Object object(Map<?, ?> fields) throws SQLException {
        var found = new LinkedHashMap<String, Object>();
        for (Map.Entry<?, ?> field : fields.entrySet()) {
            found.put(field.getKey().toString(), tagged(field.getValue()));
        }
        return found;
    }

    /** Binds a row of `[kind, value]`, each by the setter of its kind. */
    static void bind(PreparedStatement statement, JsonNode row) throws SQLException, Main.NotOffered {
        int place = 0;
        for (JsonNode parameter : row) {
            place++;
            JsonNode value = parameter.get(1);
            if (value.isNull()) {
                statement.setNull(place, Types.NULL);
            } else {
                bind(statement, place, parameter.get(0).asText(), value.isObject() ? value.elements().next() : value);
            }
        }
    }

    private static void bind(PreparedStatement statement, int place, String kind, JsonNode value)
            throws SQLException, Main.NotOffered {
        String text = value.asText();
        switch (kind) {
            case "int8" -> statement.setByte(place, (byte) value.asInt());
            case "int16" -> statement.setShort(place, (short) value.asInt());
            case "int32" -> statement.setInt(place, value.asInt());
            case "int64" -> statement.setLong(place, value.asLong());
            case "float32" -> statement.setFloat(place, (float) value.asDouble());
            case "float64" -> statement.setDouble(place, value.asDouble());
            case "decimal" -> statement.setBigDecimal(place, new BigDecimal(text));
            case "text" -> statement.setString(place, text);
            case "bool" -> statement.setBoolean(place, value.asBoolean());
            case "bytes" -> statement.setBytes(place, HexFormat.of().parseHex(text));
            case "date" -> statement.setDate(place, Date.valueOf(text));
            case "time" -> statement.setTime(place, Time.valueOf(text));
            case "timestamp" -> statement.setTimestamp(place, Timestamp.valueOf(LocalDateTime.parse(text)));
            default -> throw new Main.NotOffered();
        }
    }
}
