export default function UndoEmailPage() {
  return <h1>UndoEmail</h1>;
}
