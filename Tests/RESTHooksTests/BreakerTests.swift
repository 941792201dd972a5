import RESTHooks
import Testing
