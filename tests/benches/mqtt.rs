//! MQTT through mosquitto.
