import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

import org.apache.arrow.driver.jdbc.shaded.com.fasterxml.jackson.databind.JsonNode;

/** What ../base.py lists, by JDBC. */
final class Operations {
    static final List<String> NAMES =
            Main.words("connect info catalogs schemas tables table_types columns keys query text shape prepared again "
                    + "update update_rows cancel deadline concurrent metadata browse catalog");

    private static final long CANCEL_AFTER_MS = 500;

    private final String address;
    private final String token;
    private final Connection connection;

    Operations(JsonNode request) throws SQLException {
        address = request.path("address").asText();
        token = request.path("token").asText();
        connection = connect(Map.of("token", token));
    }

    String version() throws SQLException {
        return connection.getMetaData().getDriverVersion();
    }

    Object run(JsonNode request) throws Exception {
        String sql = request.path("sql").asText();
        JsonNode parameters = request.path("parameters");
        return switch (request.path("operation").asText()) {
            case "connect" -> selectOne(credential(request));
            case "catalog" -> catalog(request.path("name").asText());
            case "info" -> info();
            case "catalogs" -> column(connection.getMetaData().getCatalogs(), "TABLE_CAT");
            case "schemas" -> columns(connection.getMetaData().getSchemas(), "TABLE_CATALOG", "TABLE_SCHEM");
            case "tables" -> columns(
                    connection.getMetaData().getTables(null, request.path("schema").asText(), "%", null),
                    "TABLE_NAME",
                    "TABLE_TYPE");
            case "table_types" -> column(connection.getMetaData().getTableTypes(), "TABLE_TYPE");
            case "columns" -> column(
                    connection.getMetaData().getColumns(null, "public", request.path("table").asText(), "%"),
                    "COLUMN_NAME");
            case "keys" -> column(
                    connection.getMetaData().getPrimaryKeys(null, null, request.path("table").asText()),
                    "COLUMN_NAME");
            case "query" -> query(sql, Values::of);
            case "text" -> query(sql, ResultSet::getString);
            case "shape" -> shape(sql);
            case "prepared" -> again(sql, List.of(parameters)).get(0);
            case "again" -> again(sql, parameters);
            case "update" -> update(sql);
            case "update_rows" -> updateRows(sql, parameters);
            case "cancel" -> cancel(sql);
            case "deadline" -> deadline(sql, request.path("seconds").asInt());
            case "concurrent" -> concurrent(sql, request.path("times").asInt());
            case "metadata" -> Metadata.callAll(connection.getMetaData());
            case "browse" -> Metadata.browse(connection);
            default -> throw new Main.NotOffered();
        };
    }

    private Connection connect(Map<String, String> properties) throws SQLException {
        var given = new Properties();
        given.put("useEncryption", "false");
        given.putAll(properties);
        return DriverManager.getConnection("jdbc:arrow-flight-sql://" + address, given);
    }

    private static Map<String, String> credential(JsonNode request) {
        var given = new LinkedHashMap<String, String>();
        for (String name : List.of("token", "user", "password")) {
            if (request.has(name)) {
                given.put(name, request.path(name).asText());
            }
        }
        return given;
    }

    private Object selectOne(Map<String, String> properties) throws SQLException {
        try (Connection opened = connect(properties)) {
            return onlyValue(opened, "SELECT 1");
        }
    }

    private static Object onlyValue(Connection opened, String sql) throws SQLException {
        try (Statement statement = opened.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return Values.of(rows, 1);
        }
    }

    /** A connection with the property `catalog`, which the driver makes an option of the session of. */
    private Object catalog(String name) throws SQLException {
        Connection opened = connect(Map.of("token", token, "catalog", name));
        Object value = onlyValue(opened, "SELECT 1");
        try {
            opened.close();
        } catch (SQLException closedTwice) {
            // The driver ends the session again when its channel is gone, and tells of that.
            if (!closedTwice.getMessage().contains("Channel shutdown invoked")) {
                throw closedTwice;
            }
        }
        return value;
    }

    private Object info() throws SQLException {
        var metadata = connection.getMetaData();
        return List.of(metadata.getDatabaseProductName(), metadata.getDatabaseProductVersion());
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        var found = new ArrayList<String>();
        for (List<String> row : columns(rows, name)) {
            found.add(row.get(0));
        }
        return found;
    }

    static List<List<String>> columns(ResultSet rows, String... names) throws SQLException {
        var found = new ArrayList<List<String>>();
        try (rows) {
            while (rows.next()) {
                var row = new ArrayList<String>();
                for (String name : names) {
                    row.add(rows.getString(name));
                }
                found.add(row);
            }
        }
        return found;
    }

    /** How a value of the current row is read. */
    private interface Reader {
        Object read(ResultSet rows, int column) throws SQLException;
    }

    private Object query(String sql, Reader reader) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(sql)) {
            return read(rows, reader);
        }
    }

    private static Map<String, Object> read(ResultSet rows, Reader reader) throws SQLException {
        var found = new ArrayList<List<Object>>();
        List<String> names = names(rows.getMetaData());
        while (rows.next()) {
            var row = new ArrayList<>();
            for (int column = 1; column <= names.size(); column++) {
                row.add(reader.read(rows, column));
            }
            found.add(row);
        }
        return Map.of("columns", names, "rows", found);
    }

    private static List<String> names(ResultSetMetaData metadata) throws SQLException {
        var names = new ArrayList<String>();
        for (int column = 1; column <= metadata.getColumnCount(); column++) {
            names.add(metadata.getColumnLabel(column));
        }
        return names;
    }

    private Object shape(String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return names(statement.getMetaData());
        }
    }

    private List<Map<String, Object>> again(String sql, Iterable<JsonNode> parameters) throws Exception {
        var answers = new ArrayList<Map<String, Object>>();
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (JsonNode row : parameters) {
                Values.bind(statement, row);
                try (ResultSet rows = statement.executeQuery()) {
                    answers.add(read(rows, Values::of));
                }
            }
        }
        return answers;
    }

    private Object update(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    private Object updateRows(String sql, JsonNode parameters) throws Exception {
        int count = 0;
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (JsonNode row : parameters) {
                Values.bind(statement, row);
                count += statement.executeUpdate();
            }
        }
        return count;
    }

    private Object cancel(String sql) throws SQLException {
        var timer = new Timer(true);
        try (Statement statement = connection.createStatement()) {
            timer.schedule(canceller(statement), CANCEL_AFTER_MS);
            try (ResultSet rows = statement.executeQuery(sql)) {
                rows.next();
                return "ended by itself";
            }
        } catch (SQLException ended) {
            return endedBy(ended, "cancel", "cancelled");
        } finally {
            timer.cancel();
        }
    }

    private static TimerTask canceller(Statement statement) {
        return new TimerTask() {
            @Override
            public void run() {
                try {
                    statement.cancel();
                } catch (SQLException unable) {
                    throw new IllegalStateException(unable);
                }
            }
        };
    }

    /** The driver has no class of its own for either end, or has it only as a cause. */
    private static Object endedBy(SQLException ended, String word, String answer) throws SQLException {
        if (!Main.messages(ended).toLowerCase(Locale.ROOT).contains(word)) {
            throw ended;
        }
        return answer;
    }

    private Object deadline(String sql, int seconds) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(seconds);
            try (ResultSet rows = statement.executeQuery(sql)) {
                rows.next();
                return "ended by itself";
            }
        } catch (SQLException ended) {
            return endedBy(ended, "timed out", "deadline");
        }
    }

    private Object concurrent(String sql, int times) throws Exception {
        var threads = Executors.newFixedThreadPool(times);
        try {
            var asked = new ArrayList<Callable<Object>>();
            for (int number = 0; number < times; number++) {
                String each = sql.replace("{}", Integer.toString(number));
                asked.add(() -> onlyValue(connection, each));
            }
            var found = new ArrayList<>();
            for (Future<Object> answer : threads.invokeAll(asked)) {
                found.add(answer.get());
            }
            return found;
        } finally {
            threads.shutdown();
        }
    }
}
