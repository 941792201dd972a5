import ControlPlane
import HTTPTypes
import Hummingbird
import RESTHooks
import WeirJSON

import struct RESTHooks.Application

/// `app/…`: applications and the hooks attached to them. The original has these as commands of its shell
/// (`add app`, `add app-rest-method`); what the configuration defines or is built in answers 409.
struct ApplicationOperations: Sendable {
    static let schema = "Application"
    static let methodSchema = "Method"

    private static let key = RESTField("appKey", .text, required: true, "key of the application")
    private static let settings = [
        RESTField("name", .text, "for people"),
        RESTField("methods", .any, "names of the hooks that are sent, or \"all\"; none if it is missing"),
        RESTField("restUsername", .text, "for HTTP Basic authentication at the backend"),
        RESTField("restPassword", .text, "for HTTP Basic authentication at the backend"),
        RESTField("secretKey", .text, "signs the hooks: `Authorization: WCS`, HMAC-MD5 of the body"),
        RESTField(
            "defaultRestClientConfig", .object, "holds as far as the answer to `connect` says nothing else"),
    ]
    /// What is shown: never secrets.
    static let fields = [
        RESTField("appKey", .text, required: true, "key of the application"),
        RESTField("name", .text, required: true, "for people"),
        RESTField("url", .text, required: true, "URL of the backend, or the path of a built-in one"),
        RESTField("methods", .texts, required: true, "names of the hooks that are sent"),
        RESTField("defaultRestClientConfig", .object, required: true, "defaults of `restClientConfig`"),
        RESTField("isReadOnly", .flag, required: true, "true of what is configured or built in"),
    ]
    static let methodFields = [
        RESTField("name", .text, required: true, "name of the hook, the last part of its URL")
    ]
    private static let method = RESTField("method", .text, "name of a hook; without it all of them")

    let applications: Applications

    var all: [RESTOperation] {
        [
            RESTOperation(
                "app/find", "One application.", fields: [Self.key], answer: .list(Self.schema), statuses: [404]
            ) { parameters in
                let found = applications.find(parameters.text("appKey") ?? "").map { [object($0)] } ?? []
                return try RESTOperation.found(found, "application", parameters)
            },
            RESTOperation(
                "app/find_all", "All applications: configured, built in, and made here.", fields: RESTPage.fields,
                answer: .list(Self.schema), statuses: [404], isAlsoGET: true
            ) { try RESTOperation.found(applications.all.map(object), "application", $0) },
            RESTOperation(
                "app/add", "Makes an application; it outlives restarts.",
                fields: [Self.key, RESTField("url", .text, required: true, "URL of the backend")] + Self.settings,
                answer: .nothing, statuses: [409]
            ) { parameters in
                try change { () throws(ApplicationError) in
                    try applications.add(try Application(json: parameters.object))
                }
            },
            RESTOperation(
                "app/update", "Changes an application: what is not sent stays. Open sessions keep the old one.",
                fields: [Self.key, RESTField("url", .text, "URL of the backend")] + Self.settings, answer: .nothing,
                statuses: [404, 409]
            ) { parameters in
                try change { () throws(ApplicationError) in
                    try applications.update(parameters.text("appKey") ?? "") { old throws(ApplicationError) in
                        try old.updated(by: parameters.object)
                    }
                }
            },
            RESTOperation(
                "app/remove", "Removes an application. Its open sessions go on.", fields: [Self.key],
                answer: .nothing, statuses: [404, 409]
            ) { parameters in
                try change { () throws(ApplicationError) in
                    try applications.remove(parameters.text("appKey") ?? "")
                }
            },
        ] + methodOperations
    }

    private var methodOperations: [RESTOperation] {
        [
            RESTOperation(
                "app/rest-method/find_all", "Hooks that there are.", fields: RESTPage.fields,
                answer: .list(Self.methodSchema), statuses: [404], isAlsoGET: true
            ) { parameters in
                let names = Application.allMethods.sorted().map { name in
                    JSONValue.object([JSONMember("name", .string(name))])
                }
                return try RESTOperation.found(names, "method", parameters)
            },
            RESTOperation(
                "app/rest-method/add", "Attaches a hook, or all, to an application.", fields: [Self.key, Self.method],
                answer: .nothing, statuses: [404, 409]
            ) { try changeMethods($0) { $0.formUnion($1) } },
            RESTOperation(
                "app/rest-method/remove", "Detaches a hook, or all, from an application.",
                fields: [Self.key, Self.method], answer: .nothing, statuses: [404, 409]
            ) { try changeMethods($0) { $0.subtract($1) } },
        ]
    }

    private func object(_ application: Application) -> JSONValue {
        guard case .object(let members) = application.shownJSON else { return .null }
        return .object(members + [JSONMember("isReadOnly", .bool(applications.isReadOnly(application.key)))])
    }

    private func changeMethods(
        _ parameters: RESTParameters, _ apply: @Sendable (inout Set<String>, Set<String>) -> Void
    ) throws -> Response {
        try change { () throws(ApplicationError) in
            var names = Application.allMethods
            if let name = parameters.text("method") {
                _ = try Application.method(name)
                names = [name]
            }
            try applications.update(parameters.text("appKey") ?? "") { old throws(ApplicationError) in
                var new = old
                apply(&new.methods, names)
                return new
            }
        }
    }

    private func change(_ body: () throws(ApplicationError) -> Void) throws(Problem) -> Response {
        do throws(ApplicationError) {
            try body()
            return RESTOperation.done
        } catch {
            throw Problem(error)
        }
    }
}

extension Problem {
    init(_ error: ApplicationError) {
        switch error {
        case .invalid: self.init(.badRequest, error.description, remedy: "Send the application anew.")
        case .notFound: self = .nothingFound("application")
        case .alreadyExists: self.init(.conflict, error.description, remedy: "Take another key, or update it.")
        case .readOnly:
            self.init(.conflict, error.description, remedy: "Change the configuration and send SIGHUP.")
        case .storage:
            self.init(
                .internalServerError, "The application cannot be stored", remedy: "Look at the disk of state.dir.")
        }
    }
}
