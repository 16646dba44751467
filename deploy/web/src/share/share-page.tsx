export default function SharePage() {
  return <h1>Open a share</h1>;
}
